"""unteach: find out in which languages a model repeats what it should not know, remove it, and show it is gone."""

__version__ = "0.1.0"
