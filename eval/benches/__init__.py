"""Benchmarks. Each is a file with two functions, and an entry of `table.BENCHES`:

load(paths) -> questions                          reads the official files
score(questions, answers, **options) -> Scored    pure; answers by the id of their question
"""
