"""A GPU that is not there: the product's own steps on tensors without data, counted (`../rehearse.py`)."""
