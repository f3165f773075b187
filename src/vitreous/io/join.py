"""Poses and CTF values from another file, joined by particle name."""

from pathlib import Path

from vitreous.data import Optics, Poses
from vitreous.io.listing import Listing


def join_poses(listing: Listing, path: Path, pixel_size_A: float) -> Poses:
    raise NotImplementedError


def join_ctf(listing: Listing, path: Path) -> Optics:
    raise NotImplementedError
