import pytest
import torch

from vitreous.geometry.alignment import align_poses
from vitreous.geometry.rotations import mirror_rotations, random_rotations, rotation_from_vector
from vitreous.methods.fastar.fusion import fuse
from vitreous.methods.fastar.placement import Placed


def placed(n: int, frames: int, noise: float, generator: torch.Generator) -> tuple[torch.Tensor, Placed]:
    """True rotations, and the same in frames of random orientation and hand with errors; the last frame is junk."""
    truth = random_rotations(n, generator)
    rotations = []
    for number in range(frames):
        wrong = rotation_from_vector(noise * torch.randn(n, 3, generator=generator)) @ truth
        turned = wrong @ random_rotations(1, generator)
        rotations.append(mirror_rotations(turned) if number % 2 else turned)
    rotations[-1] = random_rotations(n, generator)
    shifts = torch.randn(frames, n, 2, generator=generator)
    return truth, Placed(torch.stack(rotations), shifts, 1 + torch.rand(frames, n, generator=generator))


def test_fusing_frames_averages_errors_and_drops_junk(generator: torch.Generator) -> None:
    truth, given = placed(400, 6, 0.3, generator)
    fused = fuse(given)
    single = align_poses(given.rotations[0], truth).errors_deg.median()
    errors = align_poses(fused.rotations, truth).errors_deg.median()
    assert float(errors) < 0.6 * float(single)  # five independent frames: 1/√5 = 0.45
    assert float(fused.weights[-1]) == 0
    assert (fused.weights[:-1] > 0.5).all()


def test_the_spread_tells_the_error_of_single_frames(generator: torch.Generator) -> None:
    truth, given = placed(400, 6, 0.3, generator)
    fused = fuse(given)
    single = float(align_poses(given.rotations[1], truth).errors_deg.median())
    assert float(fused.spread_deg.median()) == pytest.approx(single, rel=0.3)


def test_shifts_are_averaged_by_confidence(generator: torch.Generator) -> None:
    _, given = placed(50, 3, 0.01, generator)
    fused = fuse(given)
    weights = fused.weights[:, None] * (given.confidences - 1)
    expected = (weights[..., None] * given.shifts).sum(0) / weights.sum(0)[..., None]
    torch.testing.assert_close(fused.shifts, expected)


def test_one_frame_is_its_own_consensus(generator: torch.Generator) -> None:
    _, given = placed(60, 2, 0.1, generator)
    alone = fuse(Placed(given.rotations[:1], given.shifts[:1], given.confidences[:1]))
    torch.testing.assert_close(alone.rotations, given.rotations[0], atol=1e-5, rtol=0)
