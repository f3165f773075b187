"""Ways through latents whose shape is known, and what a run adds to its latents."""

import math
import sys
from types import ModuleType

import pytest
import torch

from vitreous.analysis.description import DescriptionConfig, describe, ends, shown_points
from vitreous.analysis.trajectories import direct_line, evenly_along, graph_path
from vitreous.analysis.umap_plane import umap_plane
from vitreous.compute.progress import SilentProgress
from vitreous.data import Result, Volume
from vitreous.errors import ConfigError


def horseshoe(n: int, generator: torch.Generator) -> torch.Tensor:
    """Points on three quarters of a circle of radius 1, the first and the last at its ends."""
    turn = torch.rand(n, generator=generator) * 1.5 * math.pi
    turn[0], turn[1] = 0, 1.5 * math.pi
    return torch.stack([turn.cos(), turn.sin()], 1) * (1 + 0.02 * torch.randn(n, 1, generator=generator))


def test_points_are_at_even_distances_along_a_polygon() -> None:
    corners = torch.tensor([[0.0, 0.0], [0.0, 3.0], [1.0, 3.0]])
    expected = torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.0, 2.0], [0.0, 3.0], [1.0, 3.0]])
    torch.testing.assert_close(evenly_along(corners, 5), expected)
    line = direct_line(torch.zeros(3), torch.tensor([3.0, 6.0, 0.0]), 4)
    torch.testing.assert_close(line, torch.arange(4.0)[:, None] * torch.tensor([1.0, 2.0, 0.0]))


def test_the_shortest_way_keeps_to_the_particles(generator) -> None:
    z = horseshoe(800, generator)
    rows = graph_path(z, 0, 1, generator)
    assert rows[[0, -1]].tolist() == [0, 1]
    way = z[rows]
    assert float((way.norm(dim=1) - 1).abs().max()) < 0.1  # never across
    assert float(way.diff(dim=0).norm(dim=1).max()) < 0.3
    turn = torch.atan2(way[:, 1], way[:, 0]) % (2 * math.pi)
    assert bool((turn[1:-1].diff() > -0.05).all())


def test_islands_are_bridged_where_they_are_closest(generator) -> None:
    left = torch.randn(100, 2, generator=generator) * 0.1
    right = left + torch.tensor([5.0, 0.0])
    bridge = torch.tensor([[0.5, 0.0], [4.5, 0.0]])
    z = torch.cat([left, right, bridge])
    rows = graph_path(z, 0, 100, generator).tolist()
    assert (rows[0], rows[-1]) == (0, 100)
    assert {200, 201} <= set(rows)


def test_a_particle_is_its_own_way(generator) -> None:
    assert graph_path(torch.zeros(5, 2), 3, 3, generator).tolist() == [3]


def test_the_points_that_are_shown_end_where_the_first_component_ends(generator) -> None:
    z = torch.randn(300, 3, generator=generator) * torch.tensor([3.0, 1.0, 0.1])
    points = shown_points(z, 2)
    assert list(points) == [f"{way}_{k}" for way in ("pc1", "pc2", "path") for k in range(1, 6)]
    start, end = ends(z)
    torch.testing.assert_close(points["path_1"], z[start])
    torch.testing.assert_close(points["path_5"], z[end])
    assert float((points["pc1_1"] - z[start]).norm()) < 1
    assert shown_points(z, 0) == {}


def test_a_description_decodes_what_it_names(generator) -> None:
    z = torch.randn(60, 2, generator=generator)
    result = Result(latents=z, latent_std=torch.full_like(z, 0.1))
    found = describe(
        result, DescriptionConfig(clusters=4), lambda p: Volume(p.sum() * torch.ones(2, 2, 2), 1.0), SilentProgress()
    )
    assert set(found.classes.tolist()) == {1, 2, 3, 4}
    for decoded in found.latent_volumes:
        torch.testing.assert_close(decoded.volume.values, decoded.z.sum() * torch.ones(2, 2, 2))
    assert {"component_1_share", "mean_latent_confidence"} <= set(found.metrics)
    assert set(found.scores) == {"latent_confidence"}


def test_umap_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ConfigError, match="pip install umap-learn"):
        DescriptionConfig(umap=True)
    with pytest.raises(ConfigError, match="pip install umap-learn"):
        umap_plane(torch.zeros(20, 3))


def test_the_umap_plane_is_that_of_the_package(monkeypatch: pytest.MonkeyPatch, generator) -> None:
    class Stand:
        def __init__(self, **settings: object) -> None:
            assert settings["n_neighbors"] == 9  # never more than there are
            assert settings["random_state"] == 3

        def fit_transform(self, z):
            return z[:, ::-1].copy().astype("float64")

    module = ModuleType("umap")
    module.UMAP = Stand  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", module)
    z = torch.randn(10, 2, generator=generator)
    torch.testing.assert_close(umap_plane(z, 3), z.flip(1))


@pytest.mark.parametrize(("option", "flag"), [({"clusters": 0}, "--clusters"), ({"components": -1}, "--components")])
def test_numbers_that_cannot_be(option: dict[str, int], flag: str) -> None:
    with pytest.raises(ConfigError, match=f"{flag} must be"):
        DescriptionConfig(**option)
