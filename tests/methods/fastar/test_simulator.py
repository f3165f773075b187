"""Simulated views show the structure at its pose, at the stated noise, with the CTF treated as stated."""

from dataclasses import replace

import pytest
import torch

from vitreous.fourier.frequencies import half_plane_indices
from vitreous.fourier.transform import fourier_crop, rfft2_centred
from vitreous.geometry.grids import viewing_directions
from vitreous.methods.fastar.scenes import Blobs, Scenes
from vitreous.methods.fastar.simulator import REFERENCE_BOX, ViewConfig, draw_rotations, simulate_views
from vitreous.methods.fastar.views import CTF_FLIPPED, CTF_MULTIPLIED, CTF_UNKNOWN, Truth, Views, soft_disc
from vitreous.simulate.bead_views import project_beads

PLAIN = ViewConfig(
    views=6, ctf=False, shift=0.03, recentred=1.0, size=(1.0, 1.0), preferred=0.0, neighbours=0.0, beads=150
)
"""Nothing but projection, shift and noise; centred as if by an earlier prediction."""


def simulated(config: ViewConfig, sets: int = 4, box: int = 32, seed: int = 5) -> tuple[Scenes, Views, Truth]:
    generator = torch.Generator().manual_seed(seed)
    scenes = Blobs().draw(sets, config.beads, generator)
    return scenes, *simulate_views(scenes, config, box, generator)


def signal_and_noise(snr: float, box: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The two parts of the views: at four times the SNR the signal is twice as strong and the noise is the same."""
    (_, once, _), (_, twice, _) = (simulated(replace(PLAIN, snr=(level, level)), 6, box) for level in (snr, 4 * snr))
    return twice.images - once.images, 2 * once.images - twice.images


def shell_correlations(first: torch.Tensor, second: torch.Tensor, shells: int = 10) -> torch.Tensor:
    """Correlation of transforms ``[n, y, half_x]`` over all images, shell by shell from 1."""
    kx, ky = half_plane_indices(first.shape[-2])
    shell = torch.floor(torch.hypot(kx, ky) + 0.5)
    found = []
    for k in range(1, shells + 1):
        a, b = first[:, shell == k], second[:, shell == k]
        found.append((a * b.conj()).real.sum() / (a.abs().square().sum() * b.abs().square().sum()).sqrt())
    return torch.stack(found)


@pytest.mark.parametrize("box", [32, 48])
@pytest.mark.parametrize("snr", [0.1, 1.0])
def test_snr_is_variance_of_signal_over_variance_of_noise_at_128_px(snr: float, box: int) -> None:
    signal, noise = signal_and_noise(snr, box)
    inside = soft_disc(box) == 1
    assert float(noise[..., inside].var()) == pytest.approx(1.0, rel=0.03)
    per_set = signal.var((2, 3)).mean(1)  # over the whole box, the mask hides next to nothing
    torch.testing.assert_close(per_set, torch.full((6,), snr * (REFERENCE_BOX / box) ** 2), rtol=0.06, atol=0)


def test_cropping_white_noise_raises_the_snr_by_the_ratio_of_pixels(generator: torch.Generator) -> None:
    noise = fourier_crop(torch.randn(40, REFERENCE_BOX, REFERENCE_BOX, generator=generator), 32)
    assert float(noise.var()) == pytest.approx((32 / REFERENCE_BOX) ** 2, rel=0.08)  # without the Nyquist row


def test_noise_is_white_in_the_disc() -> None:
    _, noise = signal_and_noise(0.5, 32)
    centre = noise[..., 8:24, 8:24]
    neighbours = (centre[..., 1:] * centre[..., :-1]).mean(), (centre[..., 1:, :] * centre[..., :-1, :]).mean()
    assert all(abs(float(product)) < 0.05 for product in neighbours)
    assert (noise[..., soft_disc(32) == 0] == 0).all()


@pytest.mark.parametrize("snr", [None, (50.0, 50.0)])
def test_views_show_the_structure_at_its_pose(snr: tuple[float, float] | None) -> None:
    scenes, views, truth = simulated(replace(PLAIN, snr=snr))
    expected = project_beads(scenes.beads, scenes.weights, truth.rotations, truth.shifts, 32)
    found = rfft2_centred(views.images)
    assert shell_correlations(found.flatten(0, 1), expected.flatten(0, 1)).min() > 0.97
    wrong = project_beads(scenes.beads, scenes.weights, truth.rotations, truth.shifts + 0.05, 32)
    assert shell_correlations(found.flatten(0, 1), wrong.flatten(0, 1)).min() < 0.7


def test_size_is_what_the_structure_is_stretched_by() -> None:
    scenes, views, truth = simulated(replace(PLAIN, snr=None, size=(0.8, 0.8)))
    found = rfft2_centred(views.images).flatten(0, 1)
    for factor, least in ((0.8, 0.97), (1.0, None)):
        expected = project_beads(factor * scenes.beads, scenes.weights, truth.rotations, truth.shifts, 32)
        worst = float(shell_correlations(found, expected.flatten(0, 1)).min())
        assert worst > least if least else worst < 0.9


@pytest.mark.parametrize("recentred", [0.0, 1.0])
def test_views_are_nearly_centred(recentred: float) -> None:
    config = replace(PLAIN, snr=(5.0, 5.0), shift=0.09, recentred=recentred)
    shifts = simulated(config, 8)[2].shifts.norm(dim=-1)
    assert float(shifts.mean()) < 0.05  # 0.07 before
    if recentred:
        assert 0.002 < float(shifts.mean()) < 0.02


def test_ctf_is_treated_as_stated() -> None:
    config = replace(PLAIN, snr=None, ctf=True, views=12)
    scenes, views, truth = simulated(config, 24)
    assert set(views.treatment.tolist()) == {CTF_UNKNOWN, CTF_FLIPPED, CTF_MULTIPLIED}
    expected = project_beads(scenes.beads, scenes.weights, truth.rotations, truth.shifts, 32)
    found = rfft2_centred(views.images)
    for b, treatment in enumerate(views.treatment.tolist()):
        in_shells = shell_correlations(found[b], expected[b])
        if treatment == CTF_UNKNOWN:
            assert (views.ctf_size[b] == 1).all()
        else:
            assert in_shells.min() > 0.3  # in phase with the structure wherever the CTF had turned it
            assert (views.ctf_size[b] < 1).all()
            assert views.ctf_size[b].std() > 0.01
    turned = [shell_correlations(found[b], expected[b]).min() for b in torch.nonzero(views.treatment == 0)[:, 0]]
    assert min(turned) < -0.2


def test_without_a_ctf_nothing_is_known_or_treated() -> None:
    _, views, _ = simulated(PLAIN)
    assert (views.treatment == CTF_UNKNOWN).all()
    assert (views.ctf_size == 1).all()


def test_neighbours_reach_in_from_the_edge_alone() -> None:
    """But for the grey level and the background, which go with all that is in a view, its middle stays as it was."""
    (_, alone, truth), (_, beside, same) = (
        simulated(replace(PLAIN, snr=None, neighbours=share), 8) for share in (1e-9, 1.0)
    )
    assert truth.shifts.equal(same.shifts)
    radius = torch.hypot(*torch.meshgrid(*[torch.arange(32.0) - 16] * 2, indexing="xy"))
    middle, edge = radius < 5, (radius > 10) & (radius < 13)
    first, second = (v.images - v.images[..., middle].mean(-1)[..., None, None] for v in (alone, beside))
    level = (first * second)[..., middle].sum((1, 2)) / first[..., middle].square().sum((1, 2))
    added = (second - level[:, None, None, None] * first).square().mean((0, 1))
    assert float(added[middle].mean()) < 0.05 * float(added[edge].mean())
    shown = (level[:, None, None, None] * first).square().mean((0, 1))
    assert float(added[edge].mean()) > 0.005 * float(shown[middle].mean())


@pytest.mark.parametrize("config", [ViewConfig(views=4, beads=60), replace(PLAIN, views=4)])
def test_everything_random_comes_from_the_generator(config: ViewConfig) -> None:
    runs = [simulated(config, 3, seed=seed) for seed in (1, 1, 2)]
    flat = [[*vars(views).values(), *vars(truth).values()] for _, views, truth in runs]
    assert all(torch.equal(a, b) for a, b in zip(flat[0], flat[1]))
    assert not torch.equal(flat[0][0], flat[2][0])


@pytest.mark.parametrize("box", [32, 33])
def test_shapes_and_frames(box: int) -> None:
    _, views, truth = simulated(ViewConfig(views=5, beads=60), 3, box)
    assert views.images.shape == (3, 5, box, box)
    assert views.ctf_size.shape == (3, 5, box // 2 - 1)
    assert truth.rotations.shape == (3, 5, 3, 3)
    assert torch.isfinite(views.images).all()


def test_uniform_rotations_are_uniform(generator: torch.Generator) -> None:
    R = draw_rotations(1, 20_000, 0.0, generator)[0]
    torch.testing.assert_close(R @ R.mT, torch.eye(3).expand_as(R), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(len(R)), atol=1e-5, rtol=0)
    assert R.mean(0).abs().max() < 0.02
    torch.testing.assert_close(R.square().mean(0), torch.full((3, 3), 1 / 3), atol=0.015, rtol=0)


def test_preferred_views_lie_around_an_axis_with_any_turn_in_the_plane(generator: torch.Generator) -> None:
    R = draw_rotations(40, 500, 1.0, generator)
    torch.testing.assert_close(R @ R.mT, torch.eye(3).expand_as(R), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(R.shape[:2]), atol=1e-5, rtol=0)
    beam = viewing_directions(R.flatten(0, 1)).unflatten(0, (40, 500)).mean(1).norm(dim=-1)
    assert float(beam.min()) < 0.3 < 0.7 < float(beam.max())  # from nearly uniform to strongly preferred
    assert R[..., :2, :].mean(1).norm(dim=-1).mean() < 0.1
    shared = draw_rotations(400, 30, 0.25, generator)[..., 2, :].mean(1).norm(dim=-1)
    assert 0.1 < float((shared > 0.45).float().mean()) < 0.25


def test_structures_are_left_as_they_were(generator: torch.Generator) -> None:
    scenes = Blobs().draw(2, 40, generator)
    before = [tensor.clone() for tensor in vars(scenes).values()]
    simulate_views(scenes, ViewConfig(views=4), 32, generator)
    assert all(torch.equal(now, then) for now, then in zip(vars(scenes).values(), before))
