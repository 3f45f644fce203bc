"""Figures, findings and page of paper B's experiments (detoxification by knowledge editing), from the result table."""
