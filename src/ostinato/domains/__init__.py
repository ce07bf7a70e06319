"""Kinds of data, each in a folder of its own."""
