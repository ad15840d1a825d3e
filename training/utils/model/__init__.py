"""Models: families, heads, adapters, generation."""
