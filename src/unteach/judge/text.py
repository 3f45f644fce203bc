"""Finding phrases in answers: see ``unteach.languages.text``, which corpora use too."""

from unteach.languages.text import Folded, find_phrases, fold, normalise

__all__ = ["Folded", "find_phrases", "fold", "normalise"]
