"""Output layers: each maps a hidden state to a distribution over the next observation."""
