"""Scores of a network: nothing but its errors, after the better hand, in the stated units."""

import math
from dataclasses import replace

import pytest
import torch

from tests.methods.fastar.small import LINES, network_of
from vitreous.geometry.planar_maps import planar_map, relative_rotations
from vitreous.geometry.rotations import mirror_rotations, rotation_from_vector
from vitreous.methods.fastar import trial as trial_module
from vitreous.methods.fastar.model import PoseNetwork, Prediction
from vitreous.methods.fastar.scenes import Blobs, Scenes
from vitreous.methods.fastar.simulator import simulate_views
from vitreous.methods.fastar.trial import Scores, Trial, run_trial
from vitreous.methods.fastar.views import Truth

FEW = Trial(views=6, snr=1.0)


class Knowing(PoseNetwork):
    """Knows the truth, but for what it is told to get wrong."""

    def __init__(self, angle_deg: float = 0.0, shift: float = 0.0, mirrored: bool = False) -> None:
        super().__init__(LINES)
        self.angle_deg, self.shift, self.mirrored = angle_deg, shift, mirrored
        self.truth: Truth | None = None

    @torch.autocast("cpu", enabled=False)
    def forward(self, views, context=None):
        relative = relative_rotations(self.truth.rotations)
        b, n = relative.shape[:2]
        axis = torch.tensor([0.6, 0.0, 0.8]) * math.radians(self.angle_deg)
        relative = rotation_from_vector(axis[None])[0] @ relative
        if self.mirrored:
            relative = mirror_rotations(relative.flatten(0, 1)).view_as(relative)
        slices = planar_map(relative, torch.zeros(b, n, 2), self.coordinates)
        t = self.truth.shifts + torch.tensor([0.6, -0.8]) * self.shift
        confidences = torch.full(slices.shape[:3], 3.0)
        confidences[:, 0] = 1e3  # the reference's is never trained
        return [Prediction(slices, t[:, :, None].expand(-1, -1, len(self.coordinates), -1), confidences)]


@pytest.fixture
def scenes(generator: torch.Generator) -> Scenes:
    return Blobs().draw(20, 50, generator)


def scores_of(network: Knowing, scenes: Scenes, monkeypatch: pytest.MonkeyPatch) -> Scores:
    def simulate(*arguments):
        views, network.truth = simulate_views(*arguments)
        return views, network.truth

    monkeypatch.setattr(trial_module, "simulate_views", simulate)
    return run_trial(network, scenes, FEW)


@pytest.mark.parametrize("mirrored", [False, True])
def test_right_poses_of_either_hand_have_no_error(scenes, mirrored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = scores_of(Knowing(mirrored=mirrored), scenes, monkeypatch)
    assert found.fnorm_mean == pytest.approx(0, abs=1e-4)
    assert found.median_deg == pytest.approx(0, abs=1e-2)
    assert found.shift_px == pytest.approx(0, abs=1e-3)
    assert found.confidence == pytest.approx(3.0)


@pytest.mark.parametrize("angle", [5.0, 40.0])
def test_errors_are_measured_in_angle_and_chord(scenes, angle: float, monkeypatch: pytest.MonkeyPatch) -> None:
    found = scores_of(Knowing(angle_deg=angle), scenes, monkeypatch)
    assert found.median_deg == pytest.approx(angle, abs=0.01)
    chord = math.sqrt(8) * math.sin(math.radians(angle) / 2)
    assert (found.fnorm_mean, found.fnorm_median) == pytest.approx((chord, chord), abs=1e-3)


def test_shifts_are_measured_in_pixels_of_a_box_of_one_and_a_half_diameters(
    scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A field is 4/3 diameters: 3/400 of it are 0.01 diameters, and those are 0.01 · 128 / 1.5 px."""
    found = scores_of(Knowing(shift=0.0075), scenes, monkeypatch)
    assert found.shift_px == pytest.approx(0.01 * 128 / 1.5, rel=1e-3)
    assert found.fnorm_mean == pytest.approx(0, abs=1e-4)


def test_untrained_network_scores_chance(scenes) -> None:
    network = network_of(LINES)
    found = run_trial(network, scenes, FEW)
    assert 1.8 < found.fnorm_mean < 2.6
    assert found == run_trial(network, scenes, FEW)
    assert found != run_trial(network, scenes, replace(FEW, seed=1))
