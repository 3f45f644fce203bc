"""One file per language strategy."""
