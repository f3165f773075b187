"""Variational autoencoders of projections: CryoDRGN."""
