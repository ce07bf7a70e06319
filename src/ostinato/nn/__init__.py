"""Recurrent layers, output distributions and the model that joins them."""
