"""Sampling behind one interface: stages ask for responses, and do not know who samples them."""
