"""What a run takes of memory, from a config alone: planned, fitted to a GPU, and checked against what it takes."""
