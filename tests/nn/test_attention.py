"""Attention: the written-out path is torch's own, and positions enter as differences alone."""

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from vitreous.nn.attention import Attention, CrossBlock, SelfBlock, attend
from vitreous.nn.rotary import Rotary, circular_rotary, planar_rotary, turn

WIDTH, HEADS, TOKENS = 32, 2, 12


def circle(tokens: int = TOKENS, head_width: int = WIDTH // HEADS) -> Rotary:
    return circular_rotary(2 * math.pi * (torch.arange(tokens) + 0.5) / tokens, head_width)


def queries_keys_values(generator: torch.Generator, size: float = 3.0) -> list[torch.Tensor]:
    shapes = ((2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 8))
    return [(size * torch.randn(shape, generator=generator)).double().requires_grad_() for shape in shapes]


@pytest.mark.parametrize("size", [0.1, 3.0, 100.0])
def test_written_out_attention_is_the_fused_one_forward_and_backward(size: float, generator: torch.Generator) -> None:
    ours, theirs = queries_keys_values(generator, size), queries_keys_values(generator, size)
    with torch.no_grad():
        for a, b in zip(ours, theirs):
            b.copy_(a)
    upstream = torch.randn(2, 3, 5, 8, generator=generator).double()
    first, second = attend(*ours), F.scaled_dot_product_attention(*theirs)
    torch.testing.assert_close(first, second)
    for f, leaves in ((first, ours), (second, theirs)):
        torch.autograd.backward(f, upstream, inputs=leaves)
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a.grad, b.grad)


def test_attention_without_gradients_gives_the_same(generator: torch.Generator) -> None:
    leaves = queries_keys_values(generator)
    with torch.no_grad():
        silent = attend(*leaves)
    torch.testing.assert_close(silent, attend(*leaves).detach())


def test_attention_keeps_bfloat16(generator: torch.Generator) -> None:
    leaves = [leaf.detach().bfloat16().requires_grad_() for leaf in queries_keys_values(generator)]
    found = attend(*leaves)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), attend(*(leaf.double() for leaf in leaves)), atol=0.06, rtol=0.02)


def test_self_attention_on_a_circle_turns_with_its_tokens(generator: torch.Generator) -> None:
    block, x = SelfBlock(WIDTH, HEADS), torch.randn(2, TOKENS, WIDTH, generator=generator)
    found = block(x, circle())
    for steps in (1, 5):
        torch.testing.assert_close(block(x.roll(steps, 1), circle()), found.roll(steps, 1), atol=1e-5, rtol=0)
    swapped = x[:, [1, 0, *range(2, TOKENS)]]
    assert (block(swapped, circle()) - found[:, [1, 0, *range(2, TOKENS)]]).abs().max() > 1e-3


def test_without_positions_tokens_are_a_set(generator: torch.Generator) -> None:
    block, x = SelfBlock(WIDTH, HEADS), torch.randn(2, TOKENS, WIDTH, generator=generator)
    order = torch.randperm(TOKENS, generator=generator)
    torch.testing.assert_close(block(x[:, order]), block(x)[:, order], atol=1e-5, rtol=0)
    cross, context = CrossBlock(WIDTH, HEADS), torch.randn(2, 9, WIDTH, generator=generator)
    torch.testing.assert_close(cross(x, context.flip(1)), cross(x, context), atol=1e-5, rtol=0)


def test_turning_keeps_lengths(generator: torch.Generator) -> None:
    for rotary in (circle(), planar_rotary(4, 16)):
        x = torch.randn(3, len(rotary.cos), 16, generator=generator)
        torch.testing.assert_close(turn(x, rotary).norm(dim=-1), x.norm(dim=-1))


def test_planar_products_depend_on_differences_of_place_alone(generator: torch.Generator) -> None:
    side = 5
    q, k = torch.randn(2, 16, generator=generator).double()
    rotary = planar_rotary(side, 16)
    everywhere = [turn(v.expand(side * side, -1), Rotary(*(r.double() for r in rotary))) for v in (q, k)]
    products = (everywhere[0] @ everywhere[1].T).unflatten(0, (side, side)).unflatten(2, (side, side))
    by_difference: dict[tuple[int, int], list[float]] = {}
    for y, x, v, u in torch.cartesian_prod(*[torch.arange(side)] * 4).tolist():
        by_difference.setdefault((v - y, u - x), []).append(float(products[y, x, v, u]))
    spreads = [max(values) - min(values) for values in by_difference.values()]
    means = [sum(values) / len(values) for values in by_difference.values()]
    assert len(means) == (2 * side - 1) ** 2
    assert max(spreads) < 1e-5
    assert max(means) - min(means) > 0.1


def test_heads_attend_apart(generator: torch.Generator) -> None:
    layer = Attention(WIDTH, HEADS).double()
    x, context = (torch.randn(2, n, WIDTH, generator=generator).double() for n in (5, 9))
    q, (k, v) = layer.query(x), layer.key_value(context).chunk(2, -1)
    half = WIDTH // HEADS
    heads = []
    for h in range(HEADS):
        part = slice(h * half, (h + 1) * half)
        weights = torch.softmax(q[..., part] @ k[..., part].mT / math.sqrt(half), -1)
        heads.append(weights @ v[..., part])
    torch.testing.assert_close(layer(x, context), layer.out(torch.cat(heads, -1)))
