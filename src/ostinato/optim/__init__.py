"""Optimizers, their schedules, and gradient clipping."""
