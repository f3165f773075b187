"""Frequencies and the disc of coefficients."""

import pytest
import torch

from vitreous.fourier.frequencies import disc, half_plane_indices, half_space_radii
from vitreous.fourier.transform import irfft2_centred, rfft2_centred

BOXES = [8, 9, 15, 16]


@pytest.mark.parametrize("box", BOXES)
def test_indices_are_those_of_the_transform(box: int) -> None:
    """The transform of a wave peaks where the indices name its frequency."""
    kx, ky = half_plane_indices(box)
    r = (torch.arange(box) - box // 2) / box
    for wave in ((1, 0), (2, 3), (3, -2)):
        image = torch.cos(2 * torch.pi * (wave[0] * r[None, :] + wave[1] * r[:, None]))[None]
        peak = rfft2_centred(image)[0].abs().flatten().argmax()
        assert (kx.flatten()[peak], ky.flatten()[peak]) == wave


@pytest.mark.parametrize("box", BOXES)
def test_radii_of_the_half_space(box: int) -> None:
    radii = half_space_radii(box)
    assert radii.shape == (box, box, box // 2 + 1)
    assert radii[0, 0, 0] == 0
    assert radii[2, 0, 1] == pytest.approx(5**0.5)
    assert radii[-1, -2, 2] == pytest.approx(3.0)
    assert radii.max() == pytest.approx(3**0.5 * (box // 2))


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("radius", [1.0, 2.5, 3.9, 100.0])
def test_disc_holds_one_of_every_friedel_pair(box: int, radius: float) -> None:
    part = disc(box, radius)
    inside = {
        (x, y)
        for x in range(-box, box + 1)
        for y in range(-box, box + 1)
        if x * x + y * y <= radius**2 + 1e-6 and x * x + y * y < box * box / 4
    }
    kept = list(zip(part.kx.int().tolist(), part.ky.int().tolist()))
    assert len(set(kept)) == len(kept)
    assert set(kept) | {(-x, -y) for x, y in kept} == inside
    assert 2 * len(kept) - 1 == len(inside)


@pytest.mark.parametrize("box", BOXES)
def test_disc_is_sorted_and_a_cut_is_a_prefix(box: int) -> None:
    part = disc(box, box / 2)
    assert (part.radius[1:] >= part.radius[:-1]).all()
    torch.testing.assert_close(part.radius, torch.hypot(part.kx, part.ky))
    assert torch.equal(part.shell, torch.floor(part.radius + 0.5).long())
    for radius in (0.0, 1.0, 2**0.5, 3.0, 3.2):
        assert part.count(radius) == len(disc(box, radius).kx) == int((part.radius <= radius + 1e-4).sum())


@pytest.mark.parametrize("box", BOXES)
def test_scatter_undoes_gather(box: int, generator: torch.Generator) -> None:
    """On images without power outside the disc, scattering what was gathered gives the image back."""
    part = disc(box, box / 2)
    values = torch.randn(3, len(part.kx), dtype=torch.complex64, generator=generator)
    values[:, (part.kx == 0) & (part.ky == 0)] = 1.5  # real, as the mean of a real image is
    planes = part.scatter(values)
    torch.testing.assert_close(part.gather(planes), values)
    torch.testing.assert_close(rfft2_centred(irfft2_centred(planes, box)), planes, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("box", BOXES)
def test_gather_picks_the_named_coefficients(box: int, generator: torch.Generator) -> None:
    transform = rfft2_centred(torch.randn(2, box, box, generator=generator))
    part = disc(box, 3.0)
    for i in range(len(part.kx)):
        assert torch.equal(part.gather(transform)[:, i], transform[:, int(part.ky[i]), int(part.kx[i])])
