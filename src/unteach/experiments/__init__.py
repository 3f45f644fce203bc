"""A spec to a plan of stages to a finished run."""
