"""Which languages exist, what we say in them, and how they are told apart."""
