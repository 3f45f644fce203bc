"""Makers of texts: fake passages, paraphrases, question-answer pairs, translations. Each checks what it is given."""
