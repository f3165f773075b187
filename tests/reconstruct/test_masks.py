"""Masks: volumes in closed form, and what an automatic one covers."""

import math

import pytest
import torch

from tests.physics.blobs import make_blobs
from vitreous.data import Volume
from vitreous.errors import InputError
from vitreous.reconstruct.masks import auto_mask, radii, sphere_mask


@pytest.mark.parametrize("box", [48, 49])
def test_sphere_has_the_volume_of_a_sphere_with_a_cosine_edge(box: int) -> None:
    """``∫ 4πr²`` over the radius, the edge weighted by its raised cosine."""
    radius, edge = 12.0, 6.0
    r = torch.linspace(0, radius + edge, 100_001, dtype=torch.float64)
    profile = torch.where(r < radius, 1.0, 0.5 * (1 + torch.cos(torch.pi * (r - radius) / edge)))
    expected = float(torch.trapezoid(4 * math.pi * r**2 * profile, r))
    mask = sphere_mask(box, radius, edge)
    assert float(mask.sum()) == pytest.approx(expected, rel=2e-3)
    assert float(mask[radii(box) <= radius].min()) == 1
    assert float(mask[radii(box) >= radius + edge].max()) < 1e-6


def test_sphere_is_centred() -> None:
    for box in (32, 33):
        axis = torch.arange(box) - box // 2
        mask = sphere_mask(box, 8.0, 3.0)
        for dims in ((0, 1), (0, 2), (1, 2)):
            assert abs(float((mask.sum(dims) * axis).sum())) < 1e-2


@pytest.mark.parametrize("box", [48, 49])
def test_automatic_mask_covers_the_particle_and_not_the_solvent(box: int, generator: torch.Generator) -> None:
    clean = make_blobs(box, sigma=3.0).map(box).float()
    noisy = Volume(clean + 0.05 * torch.randn(clean.shape, generator=generator), 4.0)
    mask = auto_mask(noisy, 16.0).values
    assert float(mask[clean > 0.3 * clean.max()].min()) > 0.99
    far = (clean < 1e-3) & (radii(box) > 0.45 * box)
    assert float(mask[far].mean()) < 0.05
    assert 0 <= float(mask.min()) <= float(mask.max()) <= 1
    assert float((mask * clean).sum() / clean.sum()) > 0.97
    assert float(mask.mean()) < 0.5


def test_small_specks_are_left_out() -> None:
    box = 48
    clean = make_blobs(box, sigma=3.0).map(box).float()
    speck = clean.clone()
    speck[4:6, 4:6, 24] = 3 * clean.max()
    mask = auto_mask(Volume(speck, 8.0), 20.0).values
    assert float(mask[5, 5, 24]) == 0


@pytest.mark.parametrize("values", [torch.zeros(24, 24, 24), torch.full((24, 24, 24), float("nan"))])
def test_empty_maps_are_refused(values: torch.Tensor) -> None:
    with pytest.raises(InputError, match="constant or not finite"):
        auto_mask(Volume(values, 2.0), 10.0)
