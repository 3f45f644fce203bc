"""The tidy table of a run as figures, a page and a terminal table. Reads files only: no model is loaded here."""
