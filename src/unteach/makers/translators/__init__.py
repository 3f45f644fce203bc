"""One file per translator."""
