"""One file per stop rule."""
