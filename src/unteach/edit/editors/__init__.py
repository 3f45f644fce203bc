"""Editors, one a file."""
