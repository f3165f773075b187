"""Maps from known poses: they equal the truth, up to the noise that theory predicts."""

from dataclasses import replace

import pytest
import torch

from tests.physics.blobs import Blobs, make_blobs, relative_error
from tests.reconstruct.scenes import PIXEL_SIZE_A, make_scene
from vitreous.compute.progress import SilentProgress
from vitreous.data import ArraySource, Optics, Particles, Volume
from vitreous.errors import ConfigError, InputError
from vitreous.fourier.frequencies import disc
from vitreous.fourier.shells import fsc, radial_power
from vitreous.fourier.transform import irfft2_centred, rfft2_centred
from vitreous.geometry.symmetry import point_group
from vitreous.physics.ctf import ctf_half_plane
from vitreous.physics.slices import SliceAccumulator
from vitreous.reconstruct.backprojection import shell_weights, solve
from vitreous.reconstruct.known_poses import (
    ReconstructConfig,
    back_project_halves,
    check_half_sets,
    check_mask,
    reconstruct_halves,
    split_half_sets,
)
from vitreous.reconstruct.masks import sphere_mask

QUIET = SilentProgress()


def halves_of(particles: Particles, symmetry: str = "C1") -> tuple[SliceAccumulator, SliceAccumulator]:
    assert particles.poses is not None
    return back_project_halves(particles, particles.poses, split_half_sets(particles, 0), symmetry, QUIET)


def whole_map(particles: Particles, symmetry: str = "C1") -> torch.Tensor:
    first, second = halves_of(particles, symmetry)
    return solve(first.merged(second)) * particles.box


@pytest.mark.parametrize("box", [32, 33])
def test_noise_free_images_give_the_map_back(box: int) -> None:
    scene = make_scene(600, box, optics=Optics.without_ctf(600))
    inside = sphere_mask(box, 0.35 * box)
    assert relative_error(whole_map(scene.particles) * inside, scene.truth * inside) < 0.02


@pytest.mark.parametrize("box", [32, 33])
def test_every_shell_comes_back(box: int) -> None:
    """Narrow blobs, whose spectrum reaches Nyquist: FSC and amplitudes up to 0.9 of it."""
    scene = make_scene(600, box, optics=Optics.without_ctf(600), blobs=make_blobs(box, sigma=0.8))
    found = whole_map(scene.particles)
    shells = slice(1, int(0.9 * box / 2))
    assert float(fsc(found, scene.truth)[shells].min()) > 0.998
    ratio = (radial_power(found) / radial_power(scene.truth))[shells]
    torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=0.05, rtol=0)


@pytest.mark.parametrize("box", [32, 33])
def test_ctf_is_corrected_for(box: int) -> None:
    """Different defoci fill each other's zeros: amplitudes come back, not only signs."""
    scene = make_scene(600, box)
    found = whole_map(scene.particles)
    assert relative_error(found, scene.truth) < 0.05


def test_fsc_to_the_truth_is_what_the_noise_leaves() -> None:
    """``FSC² = S / (S + N)``, with N the noise over the weight that reaches a voxel of the unpadded lattice."""
    n, box = 300, 32
    scene = make_scene(n, box, snr=0.05, optics=Optics.without_ctf(n))
    found = whole_map(scene.particles)
    curve = fsc(found, scene.truth)
    residual = radial_power(found - scene.truth)
    signal = radial_power(scene.truth)
    expected = (signal / (signal + residual)).sqrt()
    torch.testing.assert_close(curve[2:14], expected[2:14], atol=0.06, rtol=0)
    # n central slices put n·(pixels of a circle) = n·2πk noisy values into a shell of 4πk² voxels.
    shells = torch.arange(2, 14, dtype=torch.float64)
    predicted = box**2 * 2 * shells / n
    ratio = residual[2:14] / predicted
    assert 0.6 < float(ratio.min()) < float(ratio.max()) < 1.8


def test_half_maps_share_no_image() -> None:
    """Changing images of one half leaves the other half's map as it was, bit for bit."""
    scene = make_scene(200)
    halves = split_half_sets(scene.particles, 0)
    images = scene.particles.images()
    images[halves == 2] = torch.randn(images[halves == 2].shape, generator=torch.Generator().manual_seed(1))
    changed = replace(scene.particles, source=ArraySource(images, PIXEL_SIZE_A))
    before, after = halves_of(scene.particles), halves_of(changed)
    assert torch.equal(solve(before[0]), solve(after[0]))
    assert not torch.equal(solve(before[1]), solve(after[1]))


def test_half_sets_are_balanced_random_and_kept() -> None:
    scene = make_scene(101)
    made = split_half_sets(scene.particles, 3)
    assert sorted(torch.bincount(made).tolist()) == [0, 50, 51]
    assert torch.equal(made, split_half_sets(scene.particles, 3))
    assert not torch.equal(made, split_half_sets(scene.particles, 4))
    given = torch.tensor([1, 2] * 50 + [2])
    assert torch.equal(split_half_sets(replace(scene.particles, half_sets=given), 3), given)


def test_premultiplied_images_give_the_same_map() -> None:
    scene = make_scene(200)
    box = scene.particles.box
    ctf = ctf_half_plane(scene.particles.optics, box, PIXEL_SIZE_A)
    images = irfft2_centred(rfft2_centred(scene.particles.images()) * ctf, box)
    multiplied = replace(scene.particles, source=ArraySource(images, PIXEL_SIZE_A), ctf_premultiplied=True)
    inside = float((whole_map(multiplied) - whole_map(scene.particles)).norm())
    assert inside < 1e-4 * float(scene.truth.norm())


def turned_on_the_lattice(values: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """The map after a rotation that takes the lattice of an odd box to itself: value at r is that at ``gᵀ r``."""
    box = values.shape[-1]
    axis = torch.arange(box) - box // 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    source = (torch.stack([x, y, z], -1).double() @ rotation).round().long() + box // 2
    return values[source[..., 2], source[..., 1], source[..., 0]]


@pytest.mark.parametrize("symmetry", ["C2", "C4", "D2"])
def test_symmetry_is_imposed_and_fills_missing_views(symmetry: str) -> None:
    """Views near one direction leave a cone of frequencies empty; their mates are where the others should be."""
    box, n = 33, 400
    group = point_group(symmetry)
    unit = make_blobs(box, n=3, sigma=1.5)
    centres = torch.cat([unit.centres @ g.T for g in group])
    scene = make_scene(n, box, blobs=Blobs(centres, unit.weights.repeat(len(group)), 1.5), optics=Optics.without_ctf(n))
    views = scene.poses.rotations[:, 2]  # beam directions in the particle's frame
    seen = torch.nonzero((views @ torch.tensor([0.6, 0.0, 0.8])).abs() > 0.75)[:, 0]
    some = scene.particles.select(seen)
    found = whole_map(some, symmetry)
    plain = whole_map(some)
    assert relative_error(found, scene.truth) < 0.6 * relative_error(plain, scene.truth)
    for g in group[1:]:
        assert relative_error(turned_on_the_lattice(found, g), found) < 1e-4


def test_prior_only_takes_away() -> None:
    """A Wiener filter: every shell's amplitude falls as the prior rises, to zero."""
    first, second = halves_of(make_scene(600, snr=1.0, optics=Optics.without_ctf(600)).particles)
    both = first.merged(second)
    powers = []
    for level in (0.0, 0.1, 1.0, 10.0, 1e9):
        prior = level * shell_weights(both)
        powers.append(radial_power(solve(both, prior=prior)))
    for stronger, weaker in zip(powers[1:], powers, strict=False):
        assert bool((stronger[1:16] < weaker[1:16]).all())
    assert float(powers[-1].max()) < 1e-12 * float(powers[0].max())
    # A prior equal to the shell's weight halves it, where views are even.
    flat = (powers[2] / powers[0])[2:14].sqrt()
    torch.testing.assert_close(flat, torch.full_like(flat, 0.5), atol=0.12, rtol=0)


def test_result_reports_a_resolution_that_the_truth_confirms() -> None:
    scene = make_scene(400, snr=0.1)
    made = reconstruct_halves(scene.particles, ReconstructConfig(bfactor_A2=0.0), QUIET)
    assert made.volume is not None
    assert made.curves is not None
    assert made.resolution_A is not None
    # FSC_truth = √(2h / (1 + h)) of the half-map FSC h (Rosenthal & Henderson 2003).
    half = made.curves.unmasked.clamp(0, 1)
    expected = (2 * half / (1 + half)).sqrt()
    found = fsc((made.half_maps[0].values + made.half_maps[1].values) / 2, scene.truth)
    reliable = half > 0.3
    torch.testing.assert_close(found[reliable][1:], expected[reliable][1:], atol=0.06, rtol=0)
    assert made.volume.voxel_size_A == PIXEL_SIZE_A


def test_poses_are_needed_and_masks_must_fit() -> None:
    scene = make_scene(20)
    with pytest.raises(InputError, match="no poses"):
        reconstruct_halves(scene.particles.with_poses(None), ReconstructConfig(), QUIET)
    lonely = replace(scene.particles, half_sets=torch.ones(20, dtype=torch.int64))
    with pytest.raises(InputError, match="half-set"):
        reconstruct_halves(lonely, ReconstructConfig(), QUIET)
    with pytest.raises(ConfigError, match="--mask"):
        reconstruct_halves(scene.particles, ReconstructConfig(), QUIET, Volume(torch.ones(16, 16, 16), PIXEL_SIZE_A))
    with pytest.raises(ConfigError):
        ReconstructConfig(symmetry="Q7")


@pytest.mark.parametrize(
    ("values", "pixel_size_A", "why"),
    [
        (torch.ones(16, 16, 16), PIXEL_SIZE_A, "another box"),
        (torch.ones(32, 32, 32), 1.02 * PIXEL_SIZE_A, "another pixel size"),
        (torch.zeros(32, 32, 32), PIXEL_SIZE_A, "empty"),
        (1e-5 * torch.ones(32, 32, 32), PIXEL_SIZE_A, "empty"),
        (1.01 * torch.ones(32, 32, 32), PIXEL_SIZE_A, "values from 0 to 1"),
        (-0.01 * torch.ones(32, 32, 32), PIXEL_SIZE_A, "values from 0 to 1"),
    ],
)
def test_masks_are_checked(values: torch.Tensor, pixel_size_A: float, why: str) -> None:
    with pytest.raises(ConfigError, match=f"--mask .*{why}"):
        check_mask(Volume(values, pixel_size_A), 32, PIXEL_SIZE_A)
    check_mask(Volume(sphere_mask(32, 10.0) * 1.0005, 1.005 * PIXEL_SIZE_A), 32, PIXEL_SIZE_A)


@pytest.mark.parametrize(("sizes", "warns"), [((9, 30), True), ((50, 201), True), ((10, 40), False), ((50, 50), False)])
def test_uneven_half_sets_are_warned_of(sizes: tuple[int, int], warns: bool) -> None:
    halves = torch.tensor([1] * sizes[0] + [2] * sizes[1])
    assert bool(check_half_sets(halves)) == warns
    assert bool(check_half_sets(3 - halves)) == warns


def test_an_empty_half_set_blames_its_column() -> None:
    with pytest.raises(InputError, match="Remove rlnRandomSubset"):
        check_half_sets(torch.ones(20, dtype=torch.int64))
    with pytest.raises(InputError, match="at least two particles"):
        check_half_sets(torch.ones(1, dtype=torch.int64))


@pytest.mark.parametrize(
    "wrong", [{"seed": 2**70}, {"seed": -1}, {"bfactor_A2": float("nan")}, {"bfactor_A2": -1e9}, {"bfactor_A2": 1.1e4}]
)
def test_numbers_out_of_range_are_refused_by_flag(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"--(seed|bfactor) is out of range"):
        ReconstructConfig(**wrong)
    ReconstructConfig(seed=2**63 - 1, bfactor_A2=-1e4)


def test_images_beyond_the_disc_do_not_matter() -> None:
    """Corners of Fourier space are left out: the box's Nyquist circle bounds what is used."""
    scene = make_scene(30)
    inside = disc(32, 16.0)
    cut = irfft2_centred(inside.scatter(inside.gather(rfft2_centred(scene.particles.images()))), 32)
    same = replace(scene.particles, source=ArraySource(cut, PIXEL_SIZE_A))
    # Sub-pixel shifts are exact on the disc, so cutting before or after makes no difference.
    assert relative_error(whole_map(same), whole_map(scene.particles)) < 1e-5
