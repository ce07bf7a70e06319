"""Pairs of inputs and targets that a program has in memory, and networks of its own."""
