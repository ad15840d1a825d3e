"""What is wrong with a run, from what it logged: `python -m eval.doctor OUTPUT_DIR`.

run.py reads a run, symptoms/ look at it, each file at one group of faults, limits.py says where a figure becomes a
fault and why there, report.py writes what was found.
"""
