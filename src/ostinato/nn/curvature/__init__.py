"""Gauss-Newton products of models, and the curvature of outputs they are made of."""
