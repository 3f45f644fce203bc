"""Editing: locate a layer, change one of its matrices, undo it."""
