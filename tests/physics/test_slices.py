"""The Fourier-slice projector against projections known in closed form."""

import pytest
import torch

from tests.physics.blobs import make_blobs, relative_error
from vitreous.data import Optics, Poses
from vitreous.errors import ConvergenceError
from vitreous.fourier.frequencies import disc
from vitreous.geometry.rotations import random_rotations
from vitreous.physics.image_model import render
from vitreous.physics.slices import FourierVolume, SliceAccumulator, gridding_window, map_from_grid

BOXES = [16, 17, 32, 33]


def rendered(box: int, padding: int, poses: Poses, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    volume = FourierVolume.from_map(make_blobs(box).map(box).to(dtype), padding)
    return render(volume, Poses(poses.rotations.to(dtype), poses.shifts_A), Optics.without_ctf(len(poses)), 1.0)


@pytest.mark.parametrize("box", BOXES)
def test_images_of_blobs_are_sums_of_gaussians(box: int, generator: torch.Generator) -> None:
    """Rotations, signs and shifts are right, not only consistent: the expected image never saw a Fourier transform."""
    poses = Poses(random_rotations(10, generator), 2 * torch.randn(10, 2, generator=generator))
    expected = make_blobs(box).projections(poses.rotations, poses.shifts_A, box)
    assert relative_error(rendered(box, 2, poses).double(), expected) < 0.03
    assert relative_error(rendered(box, 4, poses).double(), expected) < 0.008


@pytest.mark.parametrize("box", BOXES)
def test_interpolation_error_falls_with_the_square_of_padding(box: int, generator: torch.Generator) -> None:
    poses = Poses(random_rotations(6, generator), torch.zeros(6, 2))
    expected = make_blobs(box).projections(poses.rotations, poses.shifts_A, box)
    errors = [relative_error(rendered(box, padding, poses, torch.float64), expected) for padding in (2, 4)]
    assert 3 < errors[0] / errors[1] < 5


@pytest.mark.parametrize("box", [32, 33])
def test_slices_are_the_transform_of_the_density(box: int, generator: torch.Generator) -> None:
    """Every coefficient against the analytic transform at ``Rᵀ(kx, ky, 0) / n``."""
    blobs = make_blobs(box)
    R = random_rotations(5, generator)
    coefficients = disc(box, box / 2)
    plane = torch.stack([coefficients.kx, coefficients.ky, torch.zeros_like(coefficients.kx)], -1)
    q = torch.einsum("nji,kj->nki", R, plane) / box
    found = FourierVolume.from_map(blobs.map(box).float(), 4).sample(R, coefficients.kx, coefficients.ky)
    assert relative_error(found.to(torch.complex128), blobs.slice(q)) < 0.008


def test_the_centre_is_voxel_n_over_2() -> None:
    """A point at the centre projects to the centre in every direction: its transform is flat and real."""
    R = random_rotations(6, torch.Generator().manual_seed(3))
    for box in BOXES:
        point = torch.zeros(box, box, box)
        point[box // 2, box // 2, box // 2] = 1.0
        slices = FourierVolume.from_map(point).slices(R)
        inside = disc(box, box / 2)
        torch.testing.assert_close(inside.gather(slices), torch.ones(6, len(inside.kx), dtype=torch.complex64))


@pytest.mark.parametrize("box", BOXES)
def test_grid_and_map_are_inverse_to_each_other(box: int, generator: torch.Generator) -> None:
    values = torch.randn(box, box, box, generator=generator)
    grid = FourierVolume.from_map(values * gridding_window(box) ** 2).grid
    torch.testing.assert_close(map_from_grid(grid, box), values, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("box", [16, 17])
def test_accumulators_add_and_forget(box: int, generator: torch.Generator) -> None:
    coefficients = disc(box, box / 2)
    k = (coefficients.kx, coefficients.ky)
    R = random_rotations(6, generator)
    values = torch.randn(6, len(k[0]), generator=generator, dtype=torch.complex64)
    weights = torch.rand(6, len(k[0]), generator=generator)
    whole, first, second = (SliceAccumulator(box) for _ in range(3))
    whole.add(R, k, values, weights)
    first.add(R[:2], k, values[:2], weights[:2])
    second.add(R[2:], k, values[2:], weights[2:])
    for found, expected in zip(first.merged(second).totals(), whole.totals(), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    whole.scale(0.25)
    first_total, second_total = (a.totals()[1].double().sum() for a in (whole, first.merged(second)))
    assert float(first_total / second_total) == pytest.approx(0.25, rel=1e-6)


@pytest.mark.parametrize("box", [16, 17])
def test_gradient_with_respect_to_the_rotation_moves_the_particle(box: int, generator: torch.Generator) -> None:
    """Down the gradient of an image's distance to a turned one, the rotation comes back."""
    blobs = make_blobs(box)
    volume = FourierVolume.from_map(blobs.map(box).float())
    truth = random_rotations(4, generator)
    coefficients = disc(box, box / 2)
    k = (coefficients.kx, coefficients.ky)
    wanted = volume.sample(truth, *k)
    angles = torch.full((4, 3), 0.1, requires_grad=True)

    def loss() -> torch.Tensor:
        from vitreous.geometry.rotations import rotation_from_vector

        return (volume.sample(rotation_from_vector(angles) @ truth, *k) - wanted).abs().square().sum()

    optimiser = torch.optim.LBFGS([angles], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    optimiser.step(closure)
    assert float(angles.detach().abs().max()) < 1e-3


@pytest.mark.parametrize("padding", [1, 3])
def test_an_odd_padded_box_is_refused(padding: int) -> None:
    """Its outermost samples would lie beyond the last grid point."""
    with pytest.raises(ValueError, match="padding"):
        FourierVolume.from_map(torch.zeros(17, 17, 17), padding)
    with pytest.raises(ValueError, match="padding"):
        SliceAccumulator(17, padding)


def test_rotations_that_are_not_numbers_are_refused_before_native_code_reads_with_them() -> None:
    volume = FourierVolume.from_map(torch.randn(8, 8, 8))
    k, rotations = torch.arange(3.0), torch.eye(3).repeat(2, 1, 1)
    rotations[1, 0, 0] = torch.nan
    with pytest.raises(ConvergenceError, match="learning rate"):
        volume.sample(rotations, k, k)
