"""Shares of a map's highest voxels, and the figures of two runs, against maps whose answer is known."""

import json
from pathlib import Path

import pytest
import torch
from benchmarks.flexibility import Truth, figures_of
from benchmarks.tables import section

from tests.benchmarks.test_tables import record
from vitreous.data import Volume
from vitreous.io.maps import write_map

BOX = 16


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth.of_box(BOX)


def test_the_domain_is_a_part_of_the_particle_away_from_the_centre(truth: Truth) -> None:
    assert 0.1 < truth.share_by_chance < 0.6
    assert float((truth.domain & ~truth.particle).sum()) < 0.1 * float(truth.domain.sum())
    axis = torch.arange(BOX) - BOX // 2
    z, y, x = (truth.domain.double().sum(dims) @ axis.double() for dims in ((1, 2), (0, 2), (0, 1)))
    assert x < 0 < y  # the arm lies at (-46, 40, 20) Å
    assert z > 0


def test_the_share_counts_only_voxels_of_the_particle(truth: Truth) -> None:
    high_outside = (~truth.particle).float() * 5
    assert truth.share_inside(high_outside + truth.domain.float()) == 1.0
    assert truth.share_inside(high_outside + (truth.particle & ~truth.domain).float()) == 0.0


def test_half_of_the_highest_voxels_inside_is_a_half(truth: Truth) -> None:
    count = round(0.05 * int(truth.particle.sum()))
    values = torch.zeros(BOX**3)
    for where in (truth.particle & truth.domain, truth.particle & ~truth.domain):
        values[where.flatten().nonzero()[: count // 2, 0]] = 1.0
    values[(truth.particle & truth.domain).flatten().nonzero()[-1]] = count % 2
    assert truth.share_inside(values.reshape(BOX, BOX, BOX)) == pytest.approx(0.5, abs=0.5 / count + 1e-9)


def test_figures_of_runs_whose_maps_are_known(tmp_path: Path, truth: Truth) -> None:
    elsewhere = (truth.particle & ~truth.domain).float()
    runs = {"moving": (truth.domain.float(), 0.1), "rigid": (0.15 * elsewhere, 0.01)}
    for name, (flexibility, share) in runs.items():
        (tmp_path / name / "attention").mkdir(parents=True)
        write_map(tmp_path / name / "flexibility.mrc", Volume(flexibility, truth.voxel_size_A))
        for query, values in enumerate((elsewhere, elsewhere + 2 * truth.domain), 1):
            write_map(tmp_path / name / "attention" / f"query_{query:02d}.mrc", Volume(values, truth.voxel_size_A))
        (tmp_path / name / "summary.json").write_text(json.dumps({"moving_share": share}))
    found = figures_of(tmp_path / "moving", tmp_path / "rigid", truth)
    assert (found["flexibility_inside"], found["attention_inside"]) == (1.0, 1.0)
    assert found["rigid_over_flexible"] == pytest.approx(0.15)
    assert (found["moving_share"], found["rigid_moving_share"]) == (0.1, 0.01)
    known = {"n": 2000, "snr": 0.3, "box": BOX, "dims": 4, "seed": 1, "options": "--x 1", "verdict": "finished"}
    text = section("flexibility", [record("flexibility", 9.0, found | {"cpu_seconds": 8.0}, **known)])
    assert "| 2,000 | 0.3 | 16 | 4 | 1 | 1 | 1 |" in text
    assert "Options: `--x 1`." in text
