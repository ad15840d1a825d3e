"""Tiny runs with a fault planted in them, and good ones beside: what `eval.doctor` is tested with."""
