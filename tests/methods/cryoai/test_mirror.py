"""Maps that are their own mirror images are told from those that are not."""

import pytest
import torch

from tests.methods.moving_blobs import SIGMA_PX
from vitreous.methods.cryoai.mirror import SUSPECT_CORRELATION, mirror_correlation

BOX = 24


def blobs(centres_px: torch.Tensor) -> torch.Tensor:
    axis = torch.arange(BOX) - BOX // 2
    x, y, z = (torch.exp(-((axis - centres_px[:, i : i + 1]) ** 2) / (2 * SIGMA_PX**2)) for i in range(3))
    return torch.einsum("pz,py,px->zyx", z, y, x)


@pytest.mark.parametrize("seed", range(3))
def test_a_map_with_a_mirror_plane_is_found_whatever_the_plane(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    normal = torch.nn.functional.normalize(torch.randn(3, generator=generator), dim=0)
    centres, off = 4 * torch.randn(5, 3, generator=generator).clamp(-1.3, 1.3), torch.randn(3, generator=generator)
    mates = centres - 2 * (centres @ normal)[:, None] * normal
    correlation, found = mirror_correlation(blobs(torch.cat([centres, mates]) + off))
    assert correlation > 0.97
    assert float((found @ normal).abs()) > 0.99


@pytest.mark.parametrize("seed", range(3))
def test_a_map_without_one_is_not(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    correlation, _ = mirror_correlation(blobs(5 * torch.randn(9, 3, generator=generator).clamp(-1.3, 1.3)))
    assert correlation < SUSPECT_CORRELATION
