"""Structures, motions and particle stacks with a known truth."""
