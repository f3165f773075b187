"""Isosurfaces against the geometry of spheres."""

from collections import Counter

import numpy as np
import pytest

from tests.report.conftest import ball
from vitreous.report.surface import isosurface


def directed_edges(surface):
    t = surface.triangles
    return Counter(map(tuple, np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]])))


def assert_closed(surface):
    edges = directed_edges(surface)
    assert edges
    assert all(edges[(b, a)] == count for (a, b), count in edges.items())


@pytest.mark.parametrize("radius", [8.0, 13.3])
def test_sphere_has_its_area_and_volume(radius):
    surface = isosurface(ball(40, radius).numpy(), 1.0)
    assert surface.area == pytest.approx(4 * np.pi * radius**2, rel=0.02)
    assert surface.volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.02)


def test_sphere_is_closed_and_of_genus_zero():
    surface = isosurface(ball(32, 10.2).numpy(), 1.0)
    edges = directed_edges(surface)
    assert set(edges.values()) == {1}
    assert_closed(surface)
    assert len(surface.vertices) - len(edges) // 2 + len(surface.triangles) == 2


def test_vertices_are_x_y_z_in_voxels():
    surface = isosurface(ball(32, 6, centre=(5, -2, 1)).numpy(), 1.0)
    centre = surface.vertices.mean(axis=0)
    assert centre == pytest.approx([16 + 5, 16 - 2, 16 + 1], abs=0.1)
    assert np.linalg.norm(surface.vertices - [21, 14, 17], axis=1) == pytest.approx(6, abs=0.15)


def test_noise_and_a_full_box_are_closed_too():
    noise = np.random.default_rng(0).normal(size=(14, 14, 14)).astype(np.float32)
    assert_closed(isosurface(noise, 0.3))
    full = isosurface(np.ones((6, 6, 6), np.float32), 0.5)
    assert_closed(full)
    assert full.volume > 0


def test_nothing_above_the_level_gives_an_empty_surface():
    surface = isosurface(np.zeros((5, 5, 5), np.float32), 1.0)
    assert surface.triangles.shape == (0, 3)
    assert surface.area == 0
