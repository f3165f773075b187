"""Clocks count what is done and change nothing of it."""

import torch
from benchmarks.estep import Clocks, no_product, product_shape

from vitreous.geometry.rotations import random_rotations
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct.expectation import References, centred_copies, cross_terms


def test_products_are_counted_with_their_operations(generator: torch.Generator) -> None:
    volume = FourierVolume.from_map(torch.randn(16, 16, 16, generator=generator))
    disc = volume.disc()
    count = disc.count(4.0)
    references = References.of(volume, random_rotations(7, generator), torch.zeros(2, 2), disc, count)
    clocks = Clocks()
    multiply = clocks.timed("matrix product", cross_terms, product_shape)
    for images in (4, 6):
        yc = torch.randn(images, count, dtype=torch.complex64, generator=generator)
        copies = centred_copies(yc, references.phases)
        wanted = cross_terms(copies, images, references).clone()
        assert torch.equal(multiply(copies, images, references), wanted)
    spent = clocks.spent["matrix product", clocks.where]
    # Two shifts of each image; real and imaginary parts; a product and a sum.
    assert spent.flop == 2 * (2 * (4 + 6)) * (2 * count) * 7
    assert spent.shape == (12, 2 * count, 7)


def test_what_is_no_product_has_no_operations() -> None:
    clocks = Clocks()
    assert clocks.timed("iteration", sum, no_product)([1, 2]) == 3
    assert clocks.spent["iteration", clocks.where].flop == 0
