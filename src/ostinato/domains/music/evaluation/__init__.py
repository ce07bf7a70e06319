"""Scores of models of frames, and baselines."""
