"""Recurrent networks on sequences: music, text and time series."""

__version__ = "0.1.0"
