"""Asking a language model behind an OpenAI-compatible server: what it is told, its pictures, its replies."""
