"""Probabilistic principal component analysis of maps."""
