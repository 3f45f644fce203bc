"""Building a corpus of paper A from articles: fake passages, paraphrases, question-answer pairs, translations."""
