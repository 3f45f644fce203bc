"""Answers to verdicts, or "unscored, because"."""
