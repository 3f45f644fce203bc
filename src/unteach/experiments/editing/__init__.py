"""Experiments with knowledge editing (paper B)."""
