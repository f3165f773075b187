"""Latents in a plane in which neighbours stay neighbours (UMAP, McInnes et al. 2018); an optional package draws it."""

import torch

from vitreous.errors import ConfigError
from vitreous.typing import Float


def require_umap() -> None:
    """Raise ConfigError, with what to install, where umap-learn is absent."""
    try:
        import umap  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "--umap needs the package umap-learn, which is not installed",
            remedy="Run `pip install umap-learn`, or leave --umap out",
        ) from error


def umap_plane(z: Float[torch.Tensor, "n dims"], seed: int = 0) -> Float[torch.Tensor, "n 2"]:
    """Place latents in a plane; neighbourhoods mean something there, distances do not.

    Raises
    ------
    ConfigError
        Where umap-learn is not installed.
    """
    require_umap()
    from umap import UMAP

    neighbours = min(15, len(z) - 1)
    placed = UMAP(n_components=2, n_neighbors=neighbours, random_state=seed, n_jobs=1).fit_transform(z.numpy())
    return torch.from_numpy(placed).float()
