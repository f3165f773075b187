"""Ways through a cloud of latents: straight, and along the particles."""

import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from vitreous.typing import Float, Int

_NEIGHBOURS = 10
_NODES = 20_000


def direct_line(
    start: Float[torch.Tensor, " dims"], end: Float[torch.Tensor, " dims"], points: int
) -> Float[torch.Tensor, "points dims"]:
    """Return evenly spaced points from one latent straight to another, both included."""
    return evenly_along(torch.stack([start, end]), points)


def evenly_along(corners: Float[torch.Tensor, "c dims"], points: int) -> Float[torch.Tensor, "points dims"]:
    """Return points at even distances along a polygon, its ends included."""
    lengths = corners.diff(dim=0).norm(dim=1)
    reached = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    wanted = torch.linspace(0, 1, points, dtype=reached.dtype) * reached[-1]
    low = torch.searchsorted(reached, wanted, right=True).clamp(1, len(lengths)) - 1
    share = (wanted - reached[low]) / lengths[low].clamp_min(1e-30)
    return torch.lerp(corners[low], corners[low + 1], share.clamp(0, 1)[:, None])


def graph_path(
    z: Float[torch.Tensor, "n dims"], start: int, end: int, generator: torch.Generator
) -> Int[torch.Tensor, " steps"]:
    """Return the rows of the particles on the shortest way from one particle to another, both included.

    The way goes from neighbour to neighbour (each particle's ten nearest, and more where the way would be
    interrupted), and a step costs its length squared, so that it keeps to where particles are many (Dijkstra 1959). Of
    many particles, 20,000 at random are stepping stones.
    """
    others = torch.randperm(len(z), generator=generator)[:_NODES]
    nodes = torch.cat([torch.tensor([start, end]), others[(others != start) & (others != end)]])
    points = z[nodes].numpy()
    neighbours = min(_NEIGHBOURS, len(nodes) - 1)
    while start != end:
        lengths, near = cKDTree(points).query(points, neighbours + 1)
        rows = torch.arange(len(nodes)).repeat_interleave(neighbours).numpy()
        costs = lengths[:, 1:].reshape(-1) ** 2 + 1e-30  # identical latents are neighbours too
        graph = csr_array((costs, (rows, near[:, 1:].reshape(-1))), shape=(len(nodes), len(nodes)))
        _, before = dijkstra(graph, directed=False, indices=0, return_predecessors=True)
        if before[1] >= 0:
            steps = [1]
            while steps[-1] != 0:
                steps.append(int(before[steps[-1]]))
            return nodes[steps[::-1]]
        neighbours = min(2 * neighbours, len(nodes) - 1)
    return torch.tensor([start])
