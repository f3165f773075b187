"""Corrections of poses: none at the start, in the frame and precision of the poses, reached by gradients."""

import pytest
import torch

from vitreous.errors import ConvergenceError
from vitreous.fourier.frequencies import disc
from vitreous.geometry.rotations import random_rotations, rotation_from_vector
from vitreous.nn.pose_corrections import PoseCorrections, PoseEncoder, PoseTable
from vitreous.physics.shifts import disc_phases

BOX, IMAGES = 12, 6
DISC = disc(BOX, BOX / 2)
COUNT = len(DISC.kx)
KINDS = ["table", "encoder"]


def corrections(kind: str) -> PoseCorrections:
    torch.manual_seed(0)
    return PoseTable(IMAGES) if kind == "table" else PoseEncoder(COUNT, width=16, layers=1)


def stirred(kind: str) -> PoseCorrections:
    """Corrections of some size."""
    made = corrections(kind)
    for value in made.parameters():
        value.data += 0.1 * torch.randn(value.shape)
    return made


def batch(generator: torch.Generator, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    return {
        "values": torch.randn(IMAGES, COUNT, dtype=torch.complex64, generator=generator),
        "ctf": torch.randn(IMAGES, COUNT, generator=generator),
        "rotations": random_rotations(IMAGES, generator).to(dtype),
        "rows": torch.arange(IMAGES),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_at_first_poses_are_the_given_ones_in_their_precision(kind: str, dtype: torch.dtype, generator) -> None:
    images = batch(generator, dtype)
    rotations, shifts = (each.detach() for each in corrections(kind)(images))
    assert rotations.dtype == dtype
    tolerance = 10 * torch.finfo(torch.float32).eps  # that of the given rotations, which were drawn in it
    torch.testing.assert_close(rotations, images["rotations"], atol=tolerance, rtol=0)
    assert float(shifts.abs().max()) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_wish_to_turn_or_to_shift_reaches_every_image(kind: str, generator) -> None:
    made, images = corrections(kind), batch(generator)
    wanted = rotation_from_vector(0.3 * torch.randn(IMAGES, 3, generator=generator)) @ images["rotations"]
    rotations, shifts = made(images)
    ((rotations - wanted).square().sum() + (shifts - 0.01).square().sum()).backward()
    gradients = [value.grad for value in made.parameters() if value.grad is not None]
    assert sum(float(each.abs().sum()) for each in gradients) > 0
    last = made.shifts.grad if isinstance(made, PoseTable) else made.network.last.weight.grad[6:]
    assert bool((last.abs().sum(1) > 0).all())


@pytest.mark.parametrize("kind", KINDS)
def test_corrected_rotations_are_rotations(kind: str, generator) -> None:
    rotations, shifts = (each.detach() for each in stirred(kind)(batch(generator)))
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3).expand(IMAGES, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(IMAGES))
    assert float((rotations - batch(generator)["rotations"]).abs().max()) > 0.01
    assert float(shifts.abs().max()) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_images_move_back_by_what_the_particles_moved_only_where_poses_move(kind: str, generator) -> None:
    made, images = stirred(kind), batch(generator)
    rotations, shifts = made(images)
    values, turned = made.moved(images, DISC, moves=True)
    torch.testing.assert_close(values * disc_phases(shifts * BOX, DISC), images["values"], atol=1e-5, rtol=0)
    assert torch.equal(turned, rotations)
    waiting, unturned = made.moved(images, DISC, moves=False)
    assert torch.equal(waiting, images["values"])
    assert torch.equal(unturned, images["rotations"])


def test_the_encoder_sees_the_given_pose_and_the_sign_of_the_ctf(generator) -> None:
    made, images = stirred("encoder"), batch(generator)
    added = [
        made(each)[0].detach() - each["rotations"] for each in (images, {**images, "rotations": images["rotations"].mT})
    ]
    assert float((added[0] - added[1]).abs().max()) > 1e-3
    flipped = {**images, "values": -images["values"], "ctf": -images["ctf"]}
    torch.testing.assert_close(made(flipped)[0], made(images)[0])


def test_poses_that_are_no_numbers_end_the_training(generator: torch.Generator) -> None:
    table = PoseTable(IMAGES)
    table.turns.data[1] = torch.nan
    with pytest.raises(ConvergenceError, match="Lower the learning rate"):
        table.moved(batch(generator), DISC, moves=True)
