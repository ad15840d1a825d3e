"""Whole optimizer steps of this project against those of TRL's trainers, from the same files (`../bench_trl.sh`)."""
