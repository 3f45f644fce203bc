"""Safety judges, one a file."""
