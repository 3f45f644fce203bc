"""Teaching: the one training loop and what goes through it."""
