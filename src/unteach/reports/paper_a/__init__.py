"""The figures and the table of paper A (Every Language Counts, arXiv 2406.13748), drawn from the result table."""
