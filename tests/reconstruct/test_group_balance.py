"""Optics groups that differ in noise: what is measured of them, and what it is good for."""

from dataclasses import replace

import pytest
import torch

from tests.crosscheck.relion import varied_optics
from tests.reconstruct.scenes import Scene, make_scene
from vitreous.compute.progress import SilentProgress
from vitreous.data import ArraySource
from vitreous.fourier.shells import fsc
from vitreous.geometry.rotations import rotation_angle_deg, rotation_from_vector
from vitreous.physics.image_model import render
from vitreous.physics.noise import coloured_noise, white_noise
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct.backprojection import solve
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.gauss_newton import refine_poses
from vitreous.reconstruct.group_spectra import balanced, measured_balance
from vitreous.reconstruct.known_poses import back_project_halves, split_half_sets
from vitreous.reconstruct.target import Target

BOX, DIAMETER_PX, RADIUS = 32, 20.0, 14.0
FALLING = 0.3 + 4 / (1 + (torch.arange(BOX) / 4) ** 2)
"""Noise power per shell of the second group."""


def two_groups(n: int, *, power: torch.Tensor, amplitude: float, share: float = 0.5) -> Scene:
    """Blobs at amplitude 1 in white noise, and in a share of the images at another in noise of another spectrum."""
    generator = torch.Generator().manual_seed(8)
    clean = make_scene(n, BOX, optics=varied_optics(n))
    group = (torch.arange(n) >= round((1 - share) * n)).long()
    optics = replace(clean.particles.optics, group=group, group_names=("one", "other"))
    images = render(FourierVolume.from_map(clean.truth), clean.poses, optics, clean.particles.pixel_size_A)
    scale = float((0.3 / images.var()).sqrt())
    white, other = white_noise(n, BOX, generator), coloured_noise(n, BOX, power, generator)
    first = group[:, None, None] == 0
    noisy = torch.where(first, scale * images + white, amplitude * scale * images + other)
    source = ArraySource(noisy, clean.particles.pixel_size_A)
    return Scene(replace(clean.particles, optics=optics, source=source), clean.truth * scale, clean.poses)


def store_of(scene: Scene, **options: int) -> CoefficientStore:
    return CoefficientStore(scene.particles, RADIUS, **options).load(SilentProgress())


def test_noise_of_another_colour_is_found_shell_by_shell() -> None:
    found = measured_balance(store_of(two_groups(800, power=FALLING, amplitude=1.0)), DIAMETER_PX)
    ratio = (found.noise[1] / found.noise[0])[3:]
    torch.testing.assert_close(ratio / FALLING[3 : len(ratio) + 3], torch.ones(len(ratio)), atol=0.12, rtol=0)
    assert float(found.amplitude[1] / found.amplitude[0]) == pytest.approx(1, abs=0.1)


def test_three_times_the_noise_is_a_third_of_the_particle() -> None:
    """Where every background has σ 1."""
    found = measured_balance(store_of(two_groups(1000, power=torch.ones(1), amplitude=1 / 3)), DIAMETER_PX)
    torch.testing.assert_close(found.noise, torch.ones_like(found.noise), atol=0.06, rtol=0)
    assert float(found.amplitude[0] / found.amplitude[1]) == pytest.approx(3, rel=0.15)


def test_what_a_small_group_shows_counts_little() -> None:
    few = measured_balance(store_of(two_groups(600, power=torch.full((1,), 4.0), amplitude=1.0, share=0.03)), 20.0)
    many = measured_balance(store_of(two_groups(600, power=torch.full((1,), 4.0), amplitude=1.0)), 20.0)
    ratios = [float((found.noise[1] / found.noise[0])[4:].mean()) for found in (few, many)]
    assert ratios[0] < 1.6
    assert ratios[1] == pytest.approx(4, rel=0.1)


def test_one_group_is_left_as_it_is() -> None:
    store = store_of(make_scene(60, BOX, snr=1.0))
    assert balanced(store, DIAMETER_PX) is store
    assert store.balance is None


def test_every_view_of_a_store_is_balanced_alike() -> None:
    """White noise of power 4 and the amplitude 2 are images of σ 1, twice as large."""
    scene = two_groups(300, power=torch.full((1,), 4.0), amplitude=1.0)
    cached, streamed = store_of(scene), store_of(scene, cache_bytes=0)
    balance = measured_balance(cached, DIAMETER_PX)
    rows = torch.tensor([3, 140, 160, 299])
    expected = cached.balanced(balance).batch(rows, 40)
    first, second = balance.gains(cached.disc.shell[:40])
    group = scene.particles.optics.group[rows]
    torch.testing.assert_close(expected.yc, cached.batch(rows, 40).yc * first[group])
    torch.testing.assert_close(expected.c2, cached.batch(rows, 40).c2 * second[group])
    for store in (cached, streamed):
        part = store.balanced(balance).subset(rows, RADIUS, SilentProgress()).batch(torch.arange(4), 40)
        torch.testing.assert_close(part.yc, expected.yc, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(part.c2, expected.c2)
    torch.testing.assert_close(second, first.square() * balance.noise[:, cached.disc.shell[:40]])


def test_poses_come_out_better_with_the_noise_of_each_group() -> None:
    """Strong noise at low frequency hides little where it is known to be there."""
    power = 0.1 + 30 / (1 + (torch.arange(BOX) / 3) ** 4)
    scene = two_groups(400, power=power, amplitude=1.0)
    store = store_of(scene)
    off = rotation_from_vector(0.08 * torch.randn(400, 3, generator=torch.Generator().manual_seed(4)))
    pixel_A = scene.particles.pixel_size_A
    target = Target(FourierVolume.from_map(scene.truth / BOX), store.disc, 1 / ((1 + power) / 2)[store.disc.shell])
    errors = []
    for each in (store, balanced(store, DIAMETER_PX)):
        part = each.batch(torch.arange(400))
        found = refine_poses(target, part, off @ scene.poses.rotations, scene.poses.shifts_A / pixel_A, steps=8)
        errors.append(rotation_angle_deg(found.rotations, scene.poses.rotations))
    before, after = (float(error.median()) for error in errors)
    assert after < 0.85 * before


def test_maps_come_out_better_with_the_amplitude_of_each_group() -> None:
    """Images that hardly show the particle add little more than noise unless they count less."""
    scene = two_groups(600, power=torch.ones(1), amplitude=0.25, share=0.8)
    balance = measured_balance(store_of(scene), DIAMETER_PX)
    halves = split_half_sets(scene.particles, 0)
    agreement = []
    for each in (None, balance):
        sums = back_project_halves(scene.particles, scene.poses, halves, "C1", SilentProgress(), balance=each)
        agreement.append(float(fsc(solve(sums[0]) + solve(sums[1]), scene.truth)[5:11].mean()))
    assert agreement[1] > agreement[0] + 0.01


def test_random_groups_change_next_to_nothing() -> None:
    """Groups that do not differ are found not to."""
    scene = two_groups(1000, power=torch.ones(1), amplitude=1.0)
    found = measured_balance(store_of(scene), DIAMETER_PX)
    torch.testing.assert_close(found.noise, torch.ones_like(found.noise), atol=0.06, rtol=0)
    torch.testing.assert_close(found.amplitude, torch.ones(2), atol=0.06, rtol=0)
