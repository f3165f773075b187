"""Laws of every projector: its adjoint, its twin, rotations, mirrors, and arguments left as they were.

Inner products are those of real spaces: ``Re⟨a, b⟩`` for complex coefficients.
"""

import math

import pytest
import torch
from torch import Tensor

from tests.physics.blobs import make_blobs, relative_error
from vitreous.data import Optics, Poses, Volume
from vitreous.fourier.frequencies import disc, half_plane_indices
from vitreous.fourier.transform import irfft2_centred, rfft2_centred
from vitreous.geometry.rotations import mirror_rotations, random_rotations, rotation_from_vector
from vitreous.physics.ctf import ctf_half_plane
from vitreous.physics.image_model import render
from vitreous.physics.rays import backproject_rays, project_rays
from vitreous.physics.shifts import disc_phases, half_plane_phases
from vitreous.physics.slices import FourierVolume, SliceAccumulator, gridding_window, map_from_grid
from vitreous.physics.slices_reference import insert_plain, slice_plain
from vitreous.reconstruct.align_maps import mirror_map
from vitreous.reconstruct.masks import radii

BOXES = [16, 17, 32, 33]
TOLERANCE = 1e-5


def inner(first: Tensor, second: Tensor) -> float:
    product = first.resolve_conj().to(torch.complex128) * second.to(torch.complex128).conj()
    return float(product.real.sum())


def assert_adjoint(forward: Tensor, other: Tensor, argument: Tensor, adjoint: Tensor) -> None:
    """Check ``⟨A x, y⟩ = ⟨x, Aᵀ y⟩`` relative to the sizes of both sides."""
    size = float(forward.norm()) * float(other.norm())
    assert abs(inner(forward, other) - inner(argument, adjoint)) < TOLERANCE * size


def complex_noise(*shape: int, generator: torch.Generator, dtype: torch.dtype = torch.complex64) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=dtype)


def half_grid(box: int, generator: torch.Generator, dtype: torch.dtype = torch.complex64) -> Tensor:
    g = 2 * box + 1
    return complex_noise(g, g, g // 2 + 1, generator=generator, dtype=dtype)


@pytest.mark.parametrize("box", BOXES)
def test_slices_and_insertion_are_adjoint(box: int, generator: torch.Generator) -> None:
    coefficients = disc(box, box / 2)
    k = (coefficients.kx, coefficients.ky)
    grid, R = half_grid(box, generator), random_rotations(5, generator)
    values = complex_noise(5, len(k[0]), generator=generator)
    sums = SliceAccumulator(box, threads=2)
    sums.add(R, k, values, torch.ones(values.shape))
    inserted = sums._sums.sum(0)
    adjoint = torch.view_as_complex(inserted[..., :2].contiguous())
    assert_adjoint(FourierVolume(grid, box).sample(R, *k), values, grid, adjoint)
    # The weights are inserted by the same operator: constant slices keep their sum.
    assert float(inserted[..., 2].double().sum()) == pytest.approx(values.numel(), rel=TOLERANCE)


@pytest.mark.parametrize("box", BOXES)
def test_from_map_to_images_and_back_are_adjoint(box: int, generator: torch.Generator) -> None:
    """The explicit adjoint, ``N³/2 · map_from_grid`` of the inserted slices, and automatic differentiation agree."""
    coefficients = disc(box, box / 2 - 1)
    k = (coefficients.kx, coefficients.ky)
    values, R = torch.randn(box, box, box, generator=generator), random_rotations(4, generator)
    upstream = complex_noise(4, len(k[0]), generator=generator)
    leaf = values.clone().requires_grad_()
    slices = FourierVolume.from_map(leaf).sample(R, *k)
    (by_autograd,) = torch.autograd.grad(slices, leaf, upstream)
    assert_adjoint(slices.detach(), upstream, values, by_autograd)
    sums = SliceAccumulator(box)
    sums.add(R, k, upstream, torch.zeros(upstream.shape))
    explicit = map_from_grid(sums.totals()[0], box) * (2 * box) ** 3 / 2
    assert relative_error(explicit, by_autograd) < TOLERANCE


@pytest.mark.parametrize("box", BOXES)
def test_image_model_is_linear_with_an_exact_adjoint(box: int, generator: torch.Generator) -> None:
    """Rotation, projection, CTF and shift together: ``⟨A v, y⟩ = ⟨v, Aᵀ y⟩`` for real maps and real images."""
    values = torch.randn(box, box, box, generator=generator)
    poses = Poses(random_rotations(3, generator), 3 * torch.randn(3, 2, generator=generator))
    optics = some_optics(3)
    images = torch.randn(3, box, box, generator=generator)
    leaf = values.clone().requires_grad_()
    rendered = render(FourierVolume.from_map(leaf), poses, optics, 2.0)
    (adjoint,) = torch.autograd.grad(rendered, leaf, images)
    assert_adjoint(rendered.detach(), images, values, adjoint)


@pytest.mark.parametrize("box", BOXES)
def test_rays_and_smearing_are_adjoint(box: int, generator: torch.Generator) -> None:
    values, images = torch.randn(box, box, box, generator=generator), torch.randn(3, box, box, generator=generator)
    R = random_rotations(3, generator)
    assert_adjoint(project_rays(values, R), images, values, backproject_rays(images, R))


@pytest.mark.parametrize("box", BOXES)
def test_ctf_is_self_adjoint_and_a_shift_is_undone_by_its_opposite(box: int, generator: torch.Generator) -> None:
    first, second = (torch.randn(3, box, box, generator=generator) for _ in range(2))

    def modulated(images: Tensor) -> Tensor:
        return irfft2_centred(rfft2_centred(images) * ctf_half_plane(some_optics(3), box, 2.0), box)

    def shifted(images: Tensor, shifts: Tensor) -> Tensor:
        return irfft2_centred(rfft2_centred(images) * half_plane_phases(shifts, box), box)

    shifts = 4 * torch.randn(3, 2, generator=generator)
    assert_adjoint(modulated(first), second, first, modulated(second))
    assert_adjoint(shifted(first, shifts), second, first, shifted(second, -shifts))


@pytest.mark.parametrize("box", BOXES)
def test_native_slices_and_gradients_equal_the_plain_twin(box: int, generator: torch.Generator) -> None:
    coefficients = disc(box, box / 2)
    k = (coefficients.kx, coefficients.ky)
    R = random_rotations(6, generator)
    # A smooth transform, so that the slope's jumps between cells do not turn rounding into a difference.
    grid = FourierVolume.from_map(make_blobs(box).map(box)).grid
    upstream = complex_noise(6, len(k[0]), generator=generator, dtype=torch.complex128)
    results = []
    for dtype, real in ((torch.complex64, torch.float32), (torch.complex128, torch.float64)):
        leaf, turn = grid.to(dtype).clone().requires_grad_(), R.to(real).clone().requires_grad_()
        out = FourierVolume(leaf, box).sample(turn, *k)
        assert out.dtype == dtype
        results.append((out.detach(), *torch.autograd.grad(out, (leaf, turn), upstream.to(dtype))))
    native, plain = results
    for found, expected in zip(native, plain, strict=True):
        assert relative_error(found.to(expected.dtype), expected) < TOLERANCE


@pytest.mark.parametrize("box", BOXES)
def test_native_insertion_equals_the_plain_twin(box: int, generator: torch.Generator) -> None:
    coefficients = disc(box, box / 2)
    k = (coefficients.kx, coefficients.ky)
    R = random_rotations(7, generator)
    values, weights = complex_noise(7, len(k[0]), generator=generator), torch.rand(7, len(k[0]), generator=generator)
    for threads in (1, 3):
        sums = SliceAccumulator(box, threads=threads)
        sums.add(R, k, values, weights)
        plain = torch.zeros(*sums._sums.shape[1:], dtype=torch.float64)
        insert_plain(plain, R.double(), (k[0].double(), k[1].double()), 2.0, (values.to(torch.complex128), weights))
        assert relative_error(sums._sums.sum(0).double(), plain) < TOLERANCE


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("quarter_turns", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 2, 3)])
def test_slices_at_quarter_turns_are_transforms_of_sums(
    box: int, quarter_turns: tuple[int, int, int], generator: torch.Generator
) -> None:
    """Where every sample falls on a grid point, the projection theorem holds to rounding, for any map."""
    values = torch.randn(box, box, box, generator=generator, dtype=torch.float64)
    values[0], values[:, 0], values[:, :, 0] = 0, 0, 0  # The first planes of an even box have no mirror image.
    R = torch.eye(3, dtype=torch.float64)
    turned = values if box % 2 else values[1:, 1:, 1:]
    for axis, turns in enumerate(quarter_turns):
        vector = torch.zeros(1, 3, dtype=torch.float64)
        vector[0, axis] = turns * math.pi / 2
        R = rotation_from_vector(vector)[0].round() @ R
        # Turning by +90° about x takes y to z; arrays are [z, y, x].
        turned = torch.rot90(turned, turns, ((1, 0), (0, 2), (2, 1))[axis])
    expected = torch.zeros(box, box, dtype=torch.float64)
    start = 0 if box % 2 else 1
    expected[start:, start:] = turned.sum(0)
    # The window is for points between grid points; there are none here.
    volume = FourierVolume.from_map(values * gridding_window(box).double())
    coefficients = volume.disc()
    found = volume.sample(R[None], coefficients.kx, coefficients.ky)
    assert relative_error(found[0], coefficients.gather(rfft2_centred(expected))) < 1e-12


@pytest.mark.parametrize("box", BOXES)
def test_projecting_a_rotated_particle_is_projecting_with_the_composed_rotation(
    box: int, generator: torch.Generator
) -> None:
    """Slices of the map of ``S·particle`` at R against slices of the particle's map at ``R S``."""
    blobs = make_blobs(box)
    S, R = random_rotations(1, generator)[0].double(), random_rotations(5, generator).double()
    coefficients = disc(box, box / 2)
    k = (coefficients.kx, coefficients.ky)
    rotated = FourierVolume.from_map(blobs.rotated(S).map(box), 4).sample(R, *k)
    composed = FourierVolume.from_map(blobs.map(box), 4).sample(R @ S, *k)
    assert relative_error(rotated, composed) < 0.01
    rays = project_rays(blobs.rotated(S).map(box), R)
    assert relative_error(rays, project_rays(blobs.map(box), R @ S)) < 0.05


@pytest.mark.parametrize("box", BOXES)
def test_mirrored_map_gives_the_same_images_at_mirrored_rotations(box: int, generator: torch.Generator) -> None:
    """Images of v at R are images of the mirrored map at J R J, exactly: J only relabels the lattice."""
    values = torch.randn(box, box, box, generator=generator, dtype=torch.float64)
    values[0] = 0  # z → −z has no room for the first plane of an even box.
    R = random_rotations(5, generator).double()
    k = (disc(box, box / 2).kx, disc(box, box / 2).ky)
    here = FourierVolume.from_map(values).sample(R, *k)
    mirrored = mirror_map(Volume(values, 1.0)).values
    there = FourierVolume.from_map(mirrored).sample(mirror_rotations(R), *k)
    assert relative_error(there, here) < 1e-10
    # Rays of an even box start one voxel further out than they end, so their map must stay off the faces.
    ball = Volume(values * (radii(box) < box / 2 - 2), 1.0)
    there = project_rays(mirror_map(ball).values, mirror_rotations(R))
    assert relative_error(there, project_rays(ball.values, R)) < 1e-10


def test_turning_in_the_plane_turns_the_image(generator: torch.Generator) -> None:
    """A quarter turn about lab z on the left of R turns the image from x to y, without interpolation."""
    box = 33
    volume = FourierVolume.from_map(torch.randn(box, box, box, generator=generator, dtype=torch.float64))
    R = random_rotations(4, generator).double()
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    images, turned = (irfft2_centred(volume.slices(rotations), box) for rotations in (R, quarter @ R))
    assert relative_error(turned, torch.rot90(images, 1, (2, 1))) < 1e-10


@pytest.mark.parametrize("box", BOXES)
def test_slices_at_negative_frequencies_are_conjugates(box: int, generator: torch.Generator) -> None:
    volume = FourierVolume.from_map(torch.randn(box, box, box, generator=generator))
    R = random_rotations(4, generator)
    coefficients = disc(box, box / 2)
    here = volume.sample(R, coefficients.kx, coefficients.ky)
    there = volume.sample(R, -coefficients.kx, -coefficients.ky)
    assert relative_error(there, here.conj()) < 1e-6


def some_optics(n: int) -> Optics:
    column = torch.linspace(0, 1, n, dtype=torch.float64)
    return Optics(
        voltage_kV=200 + 100 * column.round(),
        cs_mm=2.7 - column,
        amplitude_contrast=0.07 + 0.03 * column,
        defocus_u_A=9000 + 9000 * column,
        defocus_v_A=8500 + 8000 * column,
        defocus_angle_deg=160 * column,
        phase_shift_deg=90 * column,
        bfactor_A2=40 * column,
        group=torch.zeros(n, dtype=torch.int64),
    )


def test_projectors_leave_their_arguments_as_they_were(generator: torch.Generator) -> None:
    box, n = 16, 3
    coefficients = disc(box, box / 2)
    arguments = {
        "map": torch.randn(box, box, box, generator=generator),
        "R": random_rotations(n, generator),
        "images": torch.randn(n, box, box, generator=generator),
        "values": complex_noise(n, len(coefficients.kx), generator=generator),
        "weights": torch.rand(n, len(coefficients.kx), generator=generator),
        "shifts": torch.randn(n, 2, generator=generator),
        "kx": coefficients.kx,
        "ky": coefficients.ky,
    }
    before = {name: value.clone() for name, value in arguments.items()}
    a = arguments
    k = (a["kx"], a["ky"])
    volume = FourierVolume.from_map(a["map"])
    grid = volume.grid.clone()
    volume.sample(a["R"], *k)
    slice_plain(volume.grid, a["R"], k, 2.0)
    sums = SliceAccumulator(box)
    sums.add(a["R"], k, a["values"], a["weights"])
    totals = [part.clone() for part in sums.totals()]
    sums.merged(sums)
    map_from_grid(sums.totals()[0], box)
    project_rays(a["map"], a["R"])
    backproject_rays(a["images"], a["R"])
    half_plane_phases(a["shifts"], box)
    disc_phases(a["shifts"], coefficients)
    optics = some_optics(n)
    render(volume, Poses(a["R"], a["shifts"]), optics, 2.0)
    assert all(torch.equal(value, before[name]) for name, value in arguments.items())
    assert torch.equal(volume.grid, grid)
    assert all(torch.equal(now, then) for now, then in zip(sums.totals(), totals, strict=True))
    assert torch.equal(optics.defocus_u_A, some_optics(n).defocus_u_A)
    assert torch.equal(half_plane_indices(box)[0], half_plane_indices(box)[0].round())
