"""The hash grid is what its paper's equations say, vertex by vertex, in values and in gradients."""

import math

import pytest
import torch

from vitreous.nn.hash_grid import HashGrid, level_sides

PRIMES = (1, 2_654_435_761, 805_459_861)


def grid(**changes: int) -> HashGrid:
    torch.manual_seed(0)
    made = HashGrid(**{"levels": 4, "features": 2, "log2_entries": 7, "base": 3, "finest": 9, **changes}).double()
    made.table.data.normal_()
    return made


def interpolated(made: HashGrid, point: torch.Tensor) -> torch.Tensor:
    """Features of one point, written from the equations with loops."""
    entries, found = made.entries, []
    for level, side in enumerate(level_sides(4, 3, 9)):
        at = [(float(p) + 1) / 2 * side for p in point]
        low = [min(int(a), side - 1) for a in at]
        total = torch.zeros(2, dtype=torch.float64)
        for corner in range(8):
            steps = [corner >> axis & 1 for axis in range(3)]
            vertex = [n + step for n, step in zip(low, steps)]
            if (side + 1) ** 3 <= entries:
                entry = vertex[0] + (side + 1) * (vertex[1] + (side + 1) * vertex[2])
            else:
                entry = (vertex[0] * PRIMES[0] ^ vertex[1] * PRIMES[1] ^ vertex[2] * PRIMES[2]) % entries
            share = math.prod(a - n if step else 1 - (a - n) for a, n, step in zip(at, low, steps))
            total = total + share * made.table[:, level * entries + entry]
        found.append(total)
    return torch.cat(found)


def points(generator: torch.Generator) -> torch.Tensor:
    ends = torch.tensor([[-1.0, -1, -1], [1, 1, 1], [1, -1, 0], [0, 0, 0]]).double()
    return torch.cat([2 * torch.rand(40, 3, generator=generator, dtype=torch.float64) - 1, ends])


def test_features_and_their_gradients_are_those_of_the_equations(generator) -> None:
    made, at = grid(), points(generator)
    assert made.numbered == 2  # levels of both kinds: 4³ and 5³ vertices, and more than 128
    expected = torch.stack([interpolated(made, point) for point in at])
    found = made(at)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    (by_loops,) = torch.autograd.grad(expected, made.table, upstream)
    (by_grid,) = torch.autograd.grad(found, made.table, upstream)
    torch.testing.assert_close(by_grid, by_loops)


def test_the_gradient_of_places_is_that_of_finite_differences(generator) -> None:
    made = grid()
    inside = (0.9 * points(generator)[:6]).requires_grad_()
    assert torch.autograd.gradcheck(made, (inside,), eps=1e-7, atol=1e-5)


def test_a_linear_function_at_the_vertices_is_linear_between_them(generator) -> None:
    made = grid(levels=1, base=4, finest=4)
    axis = torch.linspace(-1, 1, 5, dtype=torch.float64)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    made.table.data[0, :125] = (x + 10 * y - 3 * z).flatten()
    at = points(generator)
    torch.testing.assert_close(made(at)[:, 0], at @ torch.tensor([1.0, 10, -3]).double())


@pytest.mark.parametrize(("levels", "base", "finest"), [(16, 16, 2048), (16, 16, 32), (3, 5, 20), (1, 7, 7)])
def test_resolutions_grow_geometrically_from_the_first_to_the_last(levels: int, base: int, finest: int) -> None:
    sides = level_sides(levels, base, finest)
    assert (sides[0], sides[-1]) == (base, finest)
    growth = (finest / base) ** (1 / max(levels - 1, 1))
    assert all(0 <= base * growth**level - side < 1 + 1e-5 or side == finest for level, side in enumerate(sides))


def test_shapes_are_those_of_the_points() -> None:
    made = HashGrid(levels=3, features=4, log2_entries=6, base=2, finest=8)
    assert made(torch.zeros(2, 5, 3)).shape == (2, 5, 12)
    assert made.outputs == 12
    assert made(torch.zeros(2, 5, 3)).dtype == torch.float32


def test_gradients_are_the_same_bits_whenever_they_are_computed_with_several_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        grid = HashGrid(levels=4, features=1, log2_entries=10, base=4, finest=64)
        points = 2 * torch.rand(60_000, 3) - 1
        found = []
        for _ in range(3):
            grid.table.grad = None
            grid(points).square().sum().backward()
            found.append(grid.table.grad)
        assert all(torch.equal(each, found[0]) for each in found)
    finally:
        torch.set_num_threads(before)
