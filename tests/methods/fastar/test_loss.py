"""The loss: equation 11, blind to the hand of a whole set and to nothing else."""

import math
from dataclasses import replace

import pytest
import torch

from tests.methods.fastar.small import BOTH, LINES, network_of, random_truth, random_views
from vitreous.geometry.planar_maps import line_angles, line_directions, planar_map, relative_rotations
from vitreous.geometry.rotations import mirror_rotations, random_rotations, rotation_angle_deg
from vitreous.methods.fastar.loss import LossConfig, pose_loss, rotation_errors
from vitreous.methods.fastar.model import Prediction
from vitreous.methods.fastar.views import Truth

X0 = line_directions(line_angles(12))
PLAIN = LossConfig(alpha=0.1, either_hand=False)


def random_prediction(generator: torch.Generator, sets: int = 2, n: int = 6) -> Prediction:
    shape = (sets, n, len(X0))
    return Prediction(
        torch.randn(*shape, 3, generator=generator),
        0.1 * torch.randn(*shape, 2, generator=generator),
        1 + torch.rand(shape, generator=generator).exp(),
    )


def exact_prediction(truth: Truth, confidence: float = 1.5) -> Prediction:
    slices = planar_map(relative_rotations(truth.rotations), torch.zeros_like(truth.shifts), X0)
    shifts = truth.shifts[:, :, None].expand(-1, -1, len(X0), -1)
    return Prediction(slices, shifts, torch.full(slices.shape[:3], confidence))


def mirrored(truth: Truth) -> Truth:
    R = truth.rotations
    return replace(truth, rotations=mirror_rotations(R.flatten(0, 1)).view_as(R))


def loss_of(prediction: Prediction, truth: Truth, config: LossConfig) -> float:
    return float(pose_loss([prediction], truth, X0, config)["loss"])


def test_hand_of_the_truth_does_not_matter_only_where_it_should_not(generator: torch.Generator) -> None:
    prediction, truth = random_prediction(generator), random_truth(generator)
    first, second = (loss_of(prediction, t, LossConfig()) for t in (truth, mirrored(truth)))
    assert first == pytest.approx(second, rel=1e-5)
    first, second = (loss_of(prediction, t, PLAIN) for t in (truth, mirrored(truth)))
    assert abs(first - second) > 1e-2


def test_loss_of_the_better_hand_is_taken_set_by_set(generator: torch.Generator) -> None:
    prediction, truth = random_prediction(generator, 4), random_truth(generator, 4)
    losses = []
    for k in range(4):
        one = Prediction(*(part[k : k + 1] for part in vars(prediction).values()))
        true = Truth(truth.rotations[k : k + 1], truth.shifts[k : k + 1])
        squares = [float(pose_loss([one], t, X0, PLAIN)["slice"]) for t in (true, mirrored(true))]
        better = (true, mirrored(true))[squares[1] < squares[0]]
        losses.append(loss_of(one, better, PLAIN))
    assert loss_of(prediction, truth, replace(PLAIN, either_hand=True)) == pytest.approx(sum(losses) / 4, rel=1e-5)


def test_views_of_one_set_cannot_have_different_hands(generator: torch.Generator) -> None:
    truth = random_truth(generator, 1, 9)
    right, wrong = exact_prediction(truth), exact_prediction(mirrored(truth))
    mixed = replace(right, slices=torch.cat([right.slices[:, :5], wrong.slices[:, 5:]], 1))
    at_best = loss_of(right, truth, LossConfig())
    assert loss_of(wrong, truth, LossConfig()) == pytest.approx(at_best, abs=1e-5)
    assert loss_of(mixed, truth, LossConfig()) > at_best + 0.1


@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0])
def test_loss_is_equation_11(alpha: float, generator: torch.Generator) -> None:
    """``Σ C |X̄ − X|² − α log C`` over all points but the reference's, whose slice is known and has no confidence."""
    prediction, truth = random_prediction(generator), random_truth(generator)
    config = LossConfig(alpha=alpha, either_hand=False)
    total, (sets, n, points) = 0.0, prediction.confidences.shape
    for b in range(sets):
        for p in range(points):
            own = prediction.shifts[b, 0, p] - truth.shifts[b, 0]
            total += config.shift * float(own.square().sum()) / (sets * points * n)
            for i in range(1, n):
                target = truth.rotations[b, 0] @ truth.rotations[b, i].T @ X0[p]
                slice_error = (prediction.slices[b, i, p] - target).square().sum()
                shift_error = (prediction.shifts[b, i, p] - truth.shifts[b, i]).square().sum()
                C = prediction.confidences[b, i, p]
                term = C * (slice_error + config.shift * shift_error) - alpha * C.log()
                total += float(term) / (sets * points * (n - 1))
    assert loss_of(prediction, truth, config) == pytest.approx(total, rel=1e-4)


def test_best_confidence_is_alpha_over_the_error(generator: torch.Generator) -> None:
    """The minimum over C of ``C e − α log C`` is at ``C = α / e``."""
    truth = random_truth(generator)
    exact = exact_prediction(truth)
    error = 0.02
    off = replace(exact, slices=exact.slices + math.sqrt(error / 3))
    levels = torch.linspace(1.0, 12.0, 111)
    losses = [loss_of(replace(off, confidences=torch.full_like(off.confidences, c)), truth, PLAIN) for c in levels]
    best = levels[torch.tensor(losses).argmin()]
    assert float(best) == pytest.approx(PLAIN.alpha / error, abs=0.15)


def test_deep_supervision_is_a_weighted_mean(generator: torch.Generator) -> None:
    truth = random_truth(generator)
    early, late = random_prediction(generator), random_prediction(generator)
    parts = [loss_of(prediction, truth, PLAIN) for prediction in (early, late)]
    for deep in (0.0, 0.5):
        found = pose_loss([early, late], truth, X0, replace(PLAIN, deep=deep))["loss"]
        assert float(found) == pytest.approx((deep * parts[0] + parts[1]) / (deep + 1), rel=1e-5)


@pytest.mark.parametrize("kind", BOTH)
def test_every_parameter_learns(kind: str, generator: torch.Generator) -> None:
    config = replace(BOTH[kind], decoder_width=16)
    network, views = network_of(config), random_views(generator, config)
    views = replace(views, treatment=torch.tensor([1, 2]))
    losses = pose_loss(network(views), random_truth(generator), network.coordinates, LossConfig())
    losses["loss"].backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert still == []
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_reported_errors_are_those_of_the_better_hand(generator: torch.Generator) -> None:
    truth = random_truth(generator)
    for hand in (truth, mirrored(truth)):
        exact = exact_prediction(hand)
        off = replace(exact, shifts=exact.shifts + torch.tensor([0.03, -0.04]))
        found = pose_loss([off], truth, X0, LossConfig())
        assert float(found["slice"]) == pytest.approx(0, abs=1e-9)
        assert float(found["shift"]) == pytest.approx(0.05, rel=1e-4)


def test_rotation_errors_are_chords_of_the_angle(generator: torch.Generator) -> None:
    estimated, true = (random_rotations(10, generator).unflatten(0, (2, 5)) for _ in range(2))
    first, second = rotation_errors(estimated, true)
    angle = torch.deg2rad(rotation_angle_deg(estimated.flatten(0, 1), true.flatten(0, 1))).unflatten(0, (2, 5))
    torch.testing.assert_close(first, math.sqrt(8) * (angle / 2).sin()[:, 1:], atol=1e-4, rtol=0)
    swapped = rotation_errors(estimated, mirror_rotations(true.flatten(0, 1)).view_as(true))
    torch.testing.assert_close((first, second), swapped[::-1])


def test_chance_is_an_fnorm_of_2_3(generator: torch.Generator) -> None:
    """Mean chord of two random rotations: ``∫ √8 sin(θ/2) (1 − cos θ)/π dθ = 16√2 / 3π = 2.40``."""
    estimated, true = (random_rotations(20_000, generator).unflatten(0, (1, -1)) for _ in range(2))
    first, _ = rotation_errors(estimated, true)
    assert float(first.mean()) == pytest.approx(16 * math.sqrt(2) / (3 * math.pi), abs=0.02)


def test_network_of_small_config_overfits_one_batch(generator: torch.Generator) -> None:
    """Loss and gradient fit together: poses of one set of views are learned by heart."""
    network, views, truth = network_of(LINES), random_views(generator, n=4, sets=1), random_truth(generator, 1, 4)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(50):
        losses = pose_loss(network(views), truth, network.coordinates, LossConfig())
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        rotations, _ = network(views)[-1].poses(network.coordinates)
    errors = torch.stack(rotation_errors(rotations, relative_rotations(truth.rotations))).mean(-1)
    assert float(errors.min()) < 0.3
