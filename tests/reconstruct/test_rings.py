"""Rings against matrix products and against sums in closed form; a search by either path."""

import math

import pytest
import torch

from tests.reconstruct.scenes import make_scene
from vitreous.fourier.frequencies import disc
from vitreous.geometry.grids import so3_grid
from vitreous.geometry.rotations import random_rotations
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.expectation import (
    References,
    centred_copies,
    cross_terms,
    references_of,
    score,
)
from vitreous.reconstruct.maximisation import RotationSums
from vitreous.reconstruct.ring_basis import ring_basis
from vitreous.reconstruct.rings import PoseGrid, RingReferences

BOX, RADIUS, INPLANE = 32, 9.0, 12


def some_grid(generator: torch.Generator, shifts: int = 3) -> PoseGrid:
    """A coarse grid, turned at random as in the stochastic search."""
    turn = random_rotations(1, generator)[0]
    return PoseGrid((so3_grid(1, INPLANE) @ turn).contiguous(), INPLANE, torch.randn(shifts, 2, generator=generator))


@pytest.mark.parametrize("inplane", [12, 24, 96])
@pytest.mark.parametrize("radius", [6.0, 8.3, 12.0])
def test_rings_interpolate_whatever_fits_the_box(radius: float, inplane: int) -> None:
    """Point sources in the circle that the box holds, whose transform is known everywhere: to 1 %, edge included."""
    box = 48
    pixels = disc(box, box / 2)
    count = pixels.count(radius)
    generator = torch.Generator().manual_seed(0)
    angle, share = torch.rand(2, 200, dtype=torch.float64, generator=generator)
    where = (box / 2 * share.sqrt())[:, None] * torch.stack([(7 * angle).cos(), (7 * angle).sin()], 1)

    def transform(kx: torch.Tensor, ky: torch.Tensor) -> torch.Tensor:
        along = kx[..., None] * where[:, 0] + ky[..., None] * where[:, 1]
        return torch.exp(-2j * math.pi / box * along).sum(-1)

    basis = ring_basis(box, count, inplane)
    turn = 2 * math.pi / basis.angles * torch.arange(basis.angles, dtype=torch.float64)
    rings = basis.radii[:, None].double()
    harmonics = torch.fft.fft(transform(rings * turn.cos(), rings * turn.sin()), norm="forward")
    found = torch.zeros(2, count, dtype=torch.float64)
    for (ring, m, sign), matrix in zip(basis.groups, basis.transforms, strict=True):
        known = harmonics[ring, m]
        found[int(m[0]) % 2] += matrix.double() @ torch.cat([known.real, sign * known.imag])
    expected = transform(pixels.kx[:count].double(), pixels.ky[:count].double())
    assert float((torch.complex(found[0], found[1]) - expected).norm()) < 0.01 * float(expected.norm())


def test_cross_terms_and_norms_are_those_of_the_slices() -> None:
    """Of the references' own slices at every rotation: the correlation theorem, to rounding."""
    generator = torch.Generator().manual_seed(1)
    volume = FourierVolume.from_map(torch.randn(BOX, BOX, BOX, generator=generator))
    grid, pixels = some_grid(generator), disc(BOX, BOX / 2)
    count = pixels.count(RADIUS)
    references = RingReferences.of(volume, grid, pixels, count)
    slices = references.slices_at(torch.arange(len(grid.rotations)))
    yc = torch.randn(4, count, dtype=torch.complex64, generator=generator)
    c2 = torch.rand(4, count, generator=generator)
    copies = centred_copies(yc, references.phases)
    expected = (torch.view_as_complex(copies.view(-1, count, 2)).conj() @ slices.T).real.view(4, 3, -1)
    torch.testing.assert_close(cross_terms(copies, 4, references), expected, rtol=1e-4, atol=1e-4 * expected.std())
    torch.testing.assert_close(references.norms(c2), c2 @ slices.abs().square().T, rtol=1e-4, atol=1e-4)


def test_rings_score_as_products_do() -> None:
    """Images of a particle at poses of the grid, with noise and astigmatic CTFs.

    Both differ from finer products by the trilinear error of slices: rings by no more, and by less than 1 % of how much
    scores vary. Best poses agree.
    """
    scene = make_scene(40, BOX, snr=0.5)
    generator = torch.Generator().manual_seed(2)
    grid = some_grid(generator)
    store = CoefficientStore(scene.particles, RADIUS)
    part = store.batch(torch.arange(40))
    count = part.c2.shape[1]
    values = scene.truth / BOX
    fine = References.of(FourierVolume.from_map(values, 6), grid.rotations, grid.shifts_px, store.disc, count)
    products, rings = (references_of(path, [values], grid, store.disc, count) for path in ("products", "rings"))
    copies = centred_copies(part.yc, fine.phases)
    exact = score(copies, part.c2, fine).clone()
    errors = {}
    for name, references in (("products", products), ("rings", rings)):
        found = score(copies, part.c2, references)
        errors[name] = float((found - exact).std())
        same = (found.flatten(1).argmax(1) == exact.flatten(1).argmax(1)).float().mean()
        assert float(same) > 0.9
    assert errors["rings"] < errors["products"]
    assert errors["rings"] < 0.01 * float(exact.std())


def test_several_maps_are_joined_class_after_class() -> None:
    generator = torch.Generator().manual_seed(3)
    maps = [torch.randn(BOX, BOX, BOX, generator=generator) for _ in range(2)]
    grid, pixels = some_grid(generator), disc(BOX, BOX / 2)
    count = pixels.count(RADIUS)
    joined = references_of("rings", maps, grid, pixels, count)
    yc = torch.randn(3, count, dtype=torch.complex64, generator=generator)
    c2 = torch.rand(3, count, generator=generator)
    copies = centred_copies(yc, joined.phases)
    both = score(copies, c2, joined).clone()
    rows = torch.tensor([0, len(grid.rotations), 2 * len(grid.rotations) - 1])
    for number, values in enumerate(maps):
        one = references_of("rings", [values], grid, pixels, count)
        own = slice(number * len(grid.rotations), (number + 1) * len(grid.rotations))
        torch.testing.assert_close(score(copies, c2, one), both[..., own], rtol=1e-4, atol=1e-3)
        assert torch.equal(joined.slices_at(rows)[2 * number], one.slices_at(rows % len(grid.rotations))[2 * number])
    sums = RotationSums(len(joined.rotations), count)
    summary = sums.add_posterior(copies, c2, joined, 1.0)
    assert torch.equal(summary.best, both.flatten(1).argmax(1))


def test_an_odd_number_of_angles_is_refused_or_left_to_products() -> None:
    grid = PoseGrid(so3_grid(1, 5), 5, torch.zeros(1, 2))
    values, pixels = torch.ones(16, 16, 16), disc(16, 8.0)
    with pytest.raises(ValueError, match="even number of in-plane angles, found 5"):
        RingReferences.of(FourierVolume.from_map(values), grid, pixels, 20)
    assert isinstance(references_of("auto", [values], grid, pixels, 20), References)
