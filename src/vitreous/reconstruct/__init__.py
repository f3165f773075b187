"""Operators and solvers that turn images with poses into maps."""
