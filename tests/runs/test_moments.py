"""Coded moments keep their error bounds over any range of magnitudes, and use the bounds up."""

import math

import pytest
import torch
from torch.nn.functional import pad

from vitreous.errors import InputError
from vitreous.runs.moments import BLOCK, decode_moments, encode_moments

FLOAT32 = 1e-5
"""Rounding of logarithms and powers of roots down to 1e-18 in float32."""


def moments(generator, shape, decades):
    """Adam's moments where magnitudes of neighbours span many decades and a tenth never saw a gradient."""
    root = 10 ** (-decades * torch.rand(shape, generator=generator)) * (torch.rand(shape, generator=generator) > 0.1)
    return root * (2 * torch.rand(shape, generator=generator) - 1), root.square()


def step_of(first, second):
    return torch.where(second > 0, first / second.sqrt(), 0)


def per_block(values):
    flat = values.flatten()
    return pad(flat, (0, -len(flat) % BLOCK)).reshape(-1, BLOCK)


def per_element(blocks, like):
    return blocks.flatten()[: like.numel()].reshape(like.shape)


@pytest.mark.parametrize("decades", [0.0, 1.0, 4.0, 16.0])
@pytest.mark.parametrize("shape", [(), (1,), (255,), (3, 256), (7, 11, 13)])
def test_error_bounds(generator, shape, decades):
    first, second = moments(generator, shape, decades)
    coded = encode_moments(first, second)
    found_first, found_second = decode_moments(coded)
    assert found_first.shape == found_second.shape == shape
    step, found_step = step_of(first, second), step_of(found_first, found_second)
    largest = per_element(per_block(step).abs().amax(1, keepdim=True).expand(-1, BLOCK), step)
    assert ((found_step - step).abs() <= largest * (1 / 254 + FLOAT32)).all()
    used = second > 0
    assert torch.equal(found_second > 0, used)
    log_root = second.sqrt().log()
    blocks = per_block(log_root.nan_to_num(neginf=math.nan))
    blocks = torch.where(per_block(used.float()) > 0, blocks, math.nan)
    low, high = blocks.nan_to_num(nan=math.inf).amin(1), blocks.nan_to_num(nan=-math.inf).amax(1)
    width = per_element((high - low)[:, None].expand(-1, BLOCK), step)
    error = (found_second.sqrt().log() - log_root).abs()
    assert (error[used] <= width[used] / 508 + FLOAT32).all()


def test_bounds_are_nearly_reached(generator):
    """A code with fewer levels than promised would pass the bounds only with slack."""
    first, second = moments(generator, (64, 256), 4.0)
    found = decode_moments(encode_moments(first, second))
    step_error = (step_of(*found) - step_of(first, second)).abs().max()
    root_error = (found[1].sqrt() / second.sqrt()).log().nan_to_num(0).abs().max()
    assert step_error > 0.95 / 254
    assert root_error > 0.9 * 4 * math.log(10) / 508


def test_a_small_neighbour_takes_its_own_step():
    """One parameter's gradients are a million times smaller: neither its step nor its root vanishes."""
    second = torch.full((256,), 1.0)
    second[7] = 1e-12
    first = 0.5 * second.sqrt()
    found_first, found_second = decode_moments(encode_moments(first, second))
    torch.testing.assert_close(found_first, first, rtol=0.03, atol=0)
    torch.testing.assert_close(found_second, second, rtol=0.03, atol=0)


def test_two_bytes_per_parameter():
    coded = encode_moments(torch.ones(512, 512), torch.ones(512, 512))
    size = sum(part.nbytes for part in (coded.step, coded.root, coded.scales))
    assert size / 512**2 == 2 + 3 * 4 / BLOCK


@pytest.mark.parametrize(
    ("first", "second"), [(math.nan, 1.0), (math.inf, 1.0), (0.0, math.nan), (0.0, math.inf), (0.0, -1.0)]
)
def test_diverged_moments_are_refused(first, second):
    with pytest.raises(InputError, match="earlier checkpoint"):
        encode_moments(torch.tensor([0.0, first]), torch.tensor([1.0, second]))
