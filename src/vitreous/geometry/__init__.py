"""Rotations, SO(3) grids, point groups and the alignment of pose sets."""
