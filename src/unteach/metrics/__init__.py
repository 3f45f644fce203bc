"""Verdicts to one tidy table with intervals."""
