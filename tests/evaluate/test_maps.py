"""Map comparison, the area under an FSC curve, per-image FSC."""

import json

import pytest
import torch

from vitreous.data import Volume
from vitreous.errors import InputError
from vitreous.evaluate.maps import compare_maps, fsc_area
from vitreous.evaluate.per_image_fsc import one_image_per_state, per_image_fsc
from vitreous.fourier.filters import low_pass
from vitreous.geometry.rotations import random_rotations
from vitreous.reconstruct.align_maps import mirror_map, rotate_map


def noise(box: int, seed: int) -> torch.Tensor:
    return torch.randn(box, box, box, generator=torch.Generator().manual_seed(seed))


def beads(box: int) -> torch.Tensor:
    """An asymmetric cloud of Gaussians."""
    points = torch.randn(80, 3, generator=torch.Generator().manual_seed(5)) * torch.tensor([4.0, 3.0, 5.0])
    axis = torch.arange(box) - box // 2
    x, y, z = (torch.exp(-((axis - points[:, i : i + 1]) ** 2) / (2 * 1.2**2)) for i in range(3))
    return torch.einsum("pz,py,px->zyx", z, y, x)


@pytest.mark.parametrize("box", [15, 16])
def test_equal_maps(box: int) -> None:
    volume = Volume(noise(box, 0), 1.5)
    found = compare_maps(volume, volume, align=False)
    assert found.area == pytest.approx(0.5)
    assert found.mean_fsc == pytest.approx(1.0)
    assert found.resolution_05_A == found.resolution_0143_A == pytest.approx(box * 1.5 / (box // 2))
    assert found.frequency_per_A[2] == pytest.approx(2 / (box * 1.5))
    assert found.alignment is None


def test_resolution_is_where_the_signal_ends() -> None:
    """Signal up to shell 10, independent noise beyond: both thresholds are crossed within a shell of 10½."""
    signal, first, second = (noise(64, seed) for seed in range(3))
    maps = [Volume(low_pass(signal - grain, 10.5, 0.0) + grain, 2.0) for grain in (first, second)]
    found = compare_maps(maps[0], maps[1], align=False)
    assert 64 * 2 / 11.1 < found.resolution_0143_A <= found.resolution_05_A < 64 * 2 / 9.9


def test_a_moved_and_mirrored_map_is_found_again(generator: torch.Generator) -> None:
    truth = Volume(beads(40), 3.0)
    moved = rotate_map(mirror_map(truth), random_rotations(1, generator)[0], torch.tensor([4.0, 2.0, -5.0]))
    apart, aligned = compare_maps(moved, truth, align=False), compare_maps(moved, truth)
    assert apart.mean_fsc < 0.5
    assert aligned.fsc[1:12].min() > 0.999
    assert aligned.resolution_05_A < 40 * 3 / 16
    summary = json.loads(json.dumps(aligned.summary()))
    assert summary["hand"] == "mirrored"
    assert summary["score"] > summary["other_hand_score"]


def test_the_mask_hides_what_is_outside() -> None:
    truth = noise(24, 0)
    inside = torch.zeros(24, 24, 24)
    inside[6:18, 6:18, 6:18] = 1
    spoiled = truth * inside + noise(24, 1) * (1 - inside)
    mask = Volume(inside, 1.0)
    assert compare_maps(Volume(spoiled, 1.0), Volume(truth, 1.0), mask, align=False).mean_fsc == pytest.approx(1.0)
    assert compare_maps(Volume(spoiled, 1.0), Volume(truth, 1.0), align=False).mean_fsc < 0.5


def test_different_grids_are_refused() -> None:
    first = Volume(noise(8, 0), 1.0)
    for second in (Volume(noise(9, 0), 1.0), Volume(noise(8, 0), 1.1)):
        with pytest.raises(InputError, match="Resample one of them"):
            compare_maps(first, second, align=False)
        with pytest.raises(InputError, match="Resample one of them"):
            compare_maps(first, first, mask=second, align=False)


@pytest.mark.parametrize(("curve", "area"), [
    ([1.0] * 9, 0.5),
    ([0.0] + [1.0] * 8, 0.5),  # the mean density does not count
    ([1.0, 1.0, 0.0, 0.0, 0.0], 1.5 / 8),
    ([1.0, 0.75, 0.5, 0.25, 0.0], 0.25),
])  # fmt: skip
def test_area_under_the_curve(curve: list[float], area: float) -> None:
    assert fsc_area(torch.tensor(curve, dtype=torch.float64)) == pytest.approx(area)


def test_per_image_fsc_is_the_mean_over_images() -> None:
    truths = [noise(16, seed) for seed in range(3)]
    decoded = [truths[0], truths[1] + noise(16, 9), noise(16, 10)]
    pairs = ((Volume(a, 1.0), Volume(b, 1.0)) for a, b in zip(decoded, truths))
    found = per_image_fsc(pairs)
    assert found.curves.shape == (3, 9)
    assert found.areas[0] == pytest.approx(0.5)
    assert 0.3 < found.areas[1] < 0.4  # white noise as strong as the signal: FSC √½
    assert abs(found.areas[2]) < 0.1
    summary = found.summary()
    assert summary["images"] == 3
    assert summary["fsc_auc_mean"] == pytest.approx(float(found.areas.mean()))
    assert summary["fsc_auc_median"] == pytest.approx(float(found.areas[1]))


def test_no_image_is_refused() -> None:
    with pytest.raises(InputError, match="at least one decoded map"):
        per_image_fsc([])


def test_one_image_of_every_state(generator: torch.Generator) -> None:
    states = torch.randint(0, 20, (500,), generator=generator) * 3
    picked = one_image_per_state(states, generator)
    assert torch.equal(states[picked], states.unique())
    again = one_image_per_state(states, generator)
    assert not torch.equal(picked, again)
