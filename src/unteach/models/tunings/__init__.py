"""One file per way of tuning."""
