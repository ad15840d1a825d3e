"""Benchmarks. Each `score` is a pure function: truth and answers in, a `Scored` out."""
