"""Named streams of random numbers: every simulated quantity has its own, so that none can be read from another."""

import hashlib

import torch


def named_stream(seed: int, name: str) -> torch.Generator:
    """Return the generator of the quantity ``name``; it depends on nothing but ``seed`` and ``name``."""
    digest = hashlib.sha256(f"vitreous simulate {seed} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
