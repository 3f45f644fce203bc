"""Where models come from, how they are tuned, scored and asked."""
