"""Alignment training of vision LLMs."""
