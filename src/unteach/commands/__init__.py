"""Groups of commands, one a file."""
