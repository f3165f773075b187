"""Maps from images that show known combinations of them: exact without noise, whatever the latents' correlation."""

import pytest
import torch

from vitreous.fourier.frequencies import disc
from vitreous.fourier.shells import fsc
from vitreous.geometry.rotations import random_rotations
from vitreous.physics.linear_sums import LinearSums
from vitreous.physics.slices import FourierVolume, SliceAccumulator
from vitreous.reconstruct.backprojection import shell_weights, solve

BOX, MAPS, N = 12, 3, 1000
DISC = disc(BOX, BOX / 2)
K = (DISC.kx, DISC.ky)


@pytest.fixture
def images(generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Smooth maps, latents that hang together, rotations, and what the images show."""
    axis = torch.arange(BOX) - BOX // 2
    centres = 2 * torch.randn(MAPS, 3, generator=generator)
    z, y, x = (torch.exp(-((axis - centres[:, i : i + 1]) ** 2) / 2) for i in range(3))
    maps = torch.einsum("mz,my,mx->mzyx", z, y, x)
    latents = torch.randn(N, MAPS, generator=generator) @ torch.tensor([[1.0, 0.9, 0.0], [0, 0.5, 0.7], [0, 0, 0.4]])
    rotations = random_rotations(N, generator).float()
    slices = torch.stack([FourierVolume.from_map(each).sample(rotations, *K) for each in maps], 1)
    return maps, latents, rotations, torch.einsum("nm,nmk->nk", latents.to(slices), slices)


def summed(images, *, plain: bool = False) -> LinearSums:
    _, latents, rotations, values = images
    sums = LinearSums(BOX, MAPS)
    moments = (latents, latents[:, :, None] * latents[:, None])
    (sums.add_plain if plain else sums.add)(rotations, K, (values, torch.ones(values.shape)), moments)
    return sums


def test_maps_come_back_though_their_latents_hang_together(images) -> None:
    found = summed(images).solve(torch.full((MAPS, BOX // 2 + 1), 1e-3))
    for made, truth in zip(found, images[0]):
        assert float(fsc(made, truth)[: BOX // 2 - 1].min()) > 0.97  # of the last shell interpolation takes a part


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_native_path_equals_its_twin_with_any_number_of_threads(images, threads: int) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        native = summed(images)
    finally:
        torch.set_num_threads(before)
    plain = summed(images, plain=True)
    added = torch.full((MAPS, BOX // 2 + 1), 0.3)
    torch.testing.assert_close(native.solve(added), plain.solve(added), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(native.shell_weights(), plain.shell_weights())


def test_one_map_is_solved_for_as_a_back_projection(images, generator) -> None:
    _, _, rotations, values = images
    weights = torch.rand(values.shape, generator=generator)
    one, usual = LinearSums(BOX, 1), SliceAccumulator(BOX)
    one.add(rotations, K, (values, weights), (torch.ones(N, 1), torch.ones(N, 1, 1)))
    usual.add(rotations, K, values, weights)
    seen = shell_weights(usual).float()
    torch.testing.assert_close(one.shell_weights()[0], seen)
    added = torch.linspace(0.1, 2.0, len(seen))
    expected = solve(usual, prior=added, floor=0.0)
    torch.testing.assert_close(one.solve(added[None])[0], expected, atol=1e-5, rtol=1e-4)


def test_odd_padded_boxes_are_refused() -> None:
    with pytest.raises(ValueError, match="padding must be even"):
        LinearSums(11, 1, padding=1)
