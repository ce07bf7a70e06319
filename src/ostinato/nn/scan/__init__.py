"""Recurrences over time, and their derivatives, on any kernel."""
