"""Levels of the isosurface: sizes in Å, what is left out, what the page receives."""

import base64

import numpy as np
import pytest
import torch

from tests.report.conftest import ball
from vitreous.data import Volume
from vitreous.report.map_levels import A3_PER_DALTON, levels_of, otsu


@pytest.mark.parametrize("box", [48, 96])
def test_surface_of_a_ball_lies_where_the_density_falls_through_the_level(box):
    voxel_A, radius = 1.5, 0.3 * box
    volume = Volume(ball(box, radius).clamp_min(0), voxel_A)
    levels = levels_of(volume)
    assert [level.threshold for level in levels] == sorted(level.threshold for level in levels)
    for level in levels:
        expected_A = (2 - level.threshold) * radius * voxel_A
        distance = np.linalg.norm(level.surface.vertices, axis=1)
        assert distance == pytest.approx(expected_A, abs=0.6 * voxel_A * box / 48)
        assert level.volume_A3 == pytest.approx(4 / 3 * np.pi * expected_A**3, rel=0.05)
        assert level.protein_kDa == pytest.approx(level.volume_A3 / A3_PER_DALTON / 1000)


def test_input_map_is_untouched():
    values = ball(40, 9).clamp_min(0)
    before = values.clone()
    levels_of(Volume(values, 1.0))
    assert torch.equal(values, before)


def test_specks_are_left_out_and_second_pieces_stay():
    two = ball(48, 7, (-9, 0, 0)).clamp_min(0) + ball(48, 7, (9, 0, 0)).clamp_min(0)
    two[10, 10, 10] = 3.0
    for level in levels_of(Volume((two > 1).float() * 2 + two * 0.01, 1.0)):
        x, y, z = level.surface.vertices.T
        assert x.min() < -10
        assert x.max() > 10
        assert not ((np.abs(y + 14) < 2) & (np.abs(z + 14) < 2)).any()


def test_flat_map_has_no_surface():
    assert levels_of(Volume(torch.zeros(16, 16, 16), 1.0)) == []
    assert levels_of(Volume(torch.full((16, 16, 16), -2.0), 1.0)) == []


def test_otsu_separates_two_populations(generator):
    low, high = torch.randn(5000, generator=generator), 10 + torch.randn(2000, generator=generator)
    assert 3 < otsu(torch.cat([low, high]).numpy()) < 7


def test_payload_holds_the_mesh():
    level = levels_of(Volume(ball(32, 9).clamp_min(0), 2.0))[2]
    payload = level.payload()
    vertices = np.frombuffer(base64.b64decode(payload["vertices"]), "<i2").reshape(-1, 3) * payload["scale"]
    triangles = np.frombuffer(base64.b64decode(payload["triangles"]), f"<u{payload['bytes_per_index']}")
    np.testing.assert_allclose(vertices, level.surface.vertices, atol=payload["scale"])
    np.testing.assert_array_equal(triangles.reshape(-1, 3), level.surface.triangles)
    assert len(base64.b64decode(payload["openness"])) == len(vertices)


def test_flat_surfaces_are_more_open_than_pockets():
    blocks = torch.zeros(40, 40, 40)
    blocks[10:30, 10:30, 10:30] = 1.0
    blocks[10:30, 18:22, 18:30] = 0.0
    level = levels_of(Volume(blocks, 1.0))[0]
    x, y, z = level.surface.vertices.T
    pocket = (np.abs(x - 0) < 1.5) & (np.abs(y) < 3) & (np.abs(z) < 5)
    face = (x < -9.4) & (np.abs(y) < 5) & (np.abs(z) < 5)
    assert pocket.any()
    assert level.openness[face].mean() > level.openness[pocket].mean() + 0.2
