"""Runs that meet what a cluster does to them."""
