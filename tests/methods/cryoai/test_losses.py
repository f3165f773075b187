"""Competing poses: each is a pose of the same image, and the loss does not know half a turn."""

import pytest
import torch

from vitreous.data import Optics, Poses
from vitreous.fourier.transform import rfft2_centred
from vitreous.geometry.rotations import random_rotations
from vitreous.methods.cryoai.encoder import PoseGuesses
from vitreous.methods.cryoai.losses import (
    chosen,
    competing_poses,
    joined,
    mirrored,
    squared_residuals,
    turned_back,
    turned_by_half,
)
from vitreous.physics.image_model import render
from vitreous.physics.slices import FourierVolume


def random_guesses(generator, b: int = 3, h: int = 2) -> PoseGuesses:
    rotations = random_rotations(b * h, generator).unflatten(0, (b, h))
    return PoseGuesses(rotations, 0.03 * torch.randn(b, h, 2, generator=generator))


def images_of(volume: torch.Tensor, guesses: PoseGuesses) -> torch.Tensor:
    """Images of a map at the first pose of each."""
    box = volume.shape[-1]
    poses = Poses(guesses.rotations[:, 0], guesses.shifts[:, 0] * box)
    return render(FourierVolume.from_map(volume), poses, Optics.without_ctf(len(poses)), 1.0)


def smooth_map(generator, box: int = 16) -> torch.Tensor:
    axis = torch.arange(box) - box // 2
    envelope = torch.exp(-(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) / 18)
    coarse = torch.randn(box, box, box, generator=generator)
    return torch.nn.functional.avg_pool3d(coarse[None, None], 3, 1, 1)[0, 0] * envelope


@pytest.mark.parametrize("box", [15, 16])
def test_half_a_turn_conjugates_coefficients(box: int, generator) -> None:
    images = torch.randn(2, box, box, generator=generator)
    torch.testing.assert_close(
        rfft2_centred(turned_by_half(images)), rfft2_centred(images).conj(), atol=1e-4, rtol=1e-4
    )


def test_a_pose_of_the_turned_image_becomes_one_of_the_image(generator) -> None:
    volume, guesses = smooth_map(generator), random_guesses(generator)
    images = images_of(volume, turned_back(guesses))
    torch.testing.assert_close(turned_by_half(images_of(volume, guesses)), images, atol=1e-4, rtol=0)


def test_mirrored_poses_give_the_same_images_of_a_map_that_is_its_own_mirror_image_only(generator) -> None:
    volume, guesses = smooth_map(generator), random_guesses(generator)
    volume[0] = 0  # the plane whose mirror image lies outside the box
    symmetric = volume + volume.flip(0).roll(1, 0)
    first, second = images_of(symmetric, guesses), images_of(symmetric, mirrored(guesses))
    torch.testing.assert_close(first, second, atol=1e-4, rtol=0)
    difference = images_of(volume, guesses) - images_of(volume, mirrored(guesses))
    assert float(difference.std() / images_of(volume, guesses).std()) > 0.3


@pytest.mark.parametrize(("loss", "times"), [("l2", 1), ("symmetric", 2), ("mirrored", 4)])
def test_the_loss_is_unchanged_where_images_are_turned_by_half_a_turn(loss: str, times: int, generator) -> None:
    """Not so for the plain loss; the encoder here is any function of the image."""
    images, matrix = torch.randn(3, 16, 16, generator=generator), torch.randn(256, 16, generator=generator)
    volume = FourierVolume.from_map(smooth_map(generator))

    def encode(seen: torch.Tensor) -> PoseGuesses:
        numbers = seen.flatten(1) @ matrix
        rotations = torch.linalg.qr(numbers[:, :9].unflatten(1, (3, 3)))[0]
        rotations = rotations * torch.linalg.det(rotations)[:, None, None]
        return PoseGuesses(rotations[:, None], 0.01 * numbers[:, None, 9:11])

    def least(seen: torch.Tensor) -> torch.Tensor:
        guesses = competing_poses(encode, seen, loss)
        assert guesses.count == times
        disc = volume.disc()
        predicted = [
            disc.gather(rfft2_centred(images_of_map(PoseGuesses(r[:, None], s[:, None]))))
            for r, s in zip(guesses.rotations.unbind(1), guesses.shifts.unbind(1))
        ]
        return squared_residuals(torch.stack(predicted, 1), disc.gather(rfft2_centred(seen))).amin(1)

    def images_of_map(guesses: PoseGuesses) -> torch.Tensor:
        poses = Poses(guesses.rotations[:, 0], guesses.shifts[:, 0] * 16)
        return render(volume, poses, Optics.without_ctf(len(poses)), 1.0)

    first, second = least(images), least(turned_by_half(images))
    if loss == "l2":
        assert float((first - second).abs().max()) > 1e-3
    else:
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-3)


def test_the_chosen_pose_is_one_of_the_joined(generator) -> None:
    first, second = random_guesses(generator), random_guesses(generator)
    picked = chosen(joined(first, second), torch.tensor([0, 3, 2]))
    assert torch.equal(picked.rotations[:, 0], torch.stack([first.rotations[0, 0], *second.rotations[[1, 2], [1, 0]]]))
    assert torch.equal(picked.shifts[1, 0], second.shifts[1, 1])
