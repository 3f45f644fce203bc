"""A sample of a run's scored answers for people or a second judge: drawn, written for filling in, and read back."""
