"""Scores of language models, and what they are compared with."""
