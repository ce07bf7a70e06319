"""Text data sets: files, vocabularies, streams of tokens."""
