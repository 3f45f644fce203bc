"""Questions in every language to answers, and the forced choice."""
