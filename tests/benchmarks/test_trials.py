"""Cells are run once, in the time that there is, and what is known of them is never lost."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.processes import Finished
from benchmarks.rows import ResultFile, read_rows
from benchmarks.stacks import Images, find_structure, longest_extent_A, make_map
from benchmarks.stages import stage_seconds
from benchmarks.trials import Cell, cell_rows, run_rows

from vitreous.io.maps import read_map
from vitreous.simulate.atoms import Atoms

CELLS = [Cell(Images("a", 100, 0.1, seed)) for seed in (1, 2, 3)]


class Bench:
    """A workshop that fails on some seeds."""

    threads = 2

    def __init__(self, *broken: int) -> None:
        self.broken, self.seen = broken, []

    def run(self, cell: Cell) -> tuple[Finished, str, dict[str, float]]:
        seed = cell.images.seed
        self.seen.append(seed)
        if seed in self.broken:
            raise RuntimeError("no luck")
        return Finished(1.0, 1.0, 10.0, 10.0, ""), "solved", {"median_deg": float(seed)}


def verdicts(path: Path) -> dict[int, str]:
    return {row.settings["seed"]: row.settings["verdict"] for row in read_rows(path)}


def test_a_later_call_goes_on_and_keeps_every_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    run_rows("x", list(cell_rows(CELLS, Bench())), ResultFile(path), at_most_minutes=-1)
    assert verdicts(path) == {1: "not run", 2: "not run", 3: "not run"}
    first = Bench(2)
    run_rows("x", list(cell_rows(CELLS[:2], first)), ResultFile(path, append=True), at_most_minutes=math.inf)
    assert (first.seen, verdicts(path)) == ([1, 2], {1: "solved", 2: "error", 3: "not run"})
    assert next(row for row in read_rows(path) if row.settings["seed"] == 2).settings["why"] == "no luck"
    second = Bench()
    run_rows("x", list(cell_rows(CELLS, second)), ResultFile(path, append=True), at_most_minutes=math.inf)
    assert (second.seen, verdicts(path)) == ([2, 3], dict.fromkeys((1, 2, 3), "solved"))
    assert [row.settings["seed"] for row in read_rows(path)] == [1, 2, 3]


def test_other_conditions_are_other_rows(tmp_path: Path) -> None:
    results, bench = ResultFile(tmp_path / "rows.json"), Bench()
    cells = [CELLS[0], Cell(CELLS[0].images, "--method fastar"), CELLS[0]]
    run_rows("x", list(cell_rows(cells, bench)), results, at_most_minutes=math.inf)
    assert [row.settings["options"] for row in results.records] == ["", "--method fastar"]


def test_stages_add_up_to_the_run(tmp_path: Path) -> None:
    logged = [("start 1", 6.0), ("start 1", 7.0), ("start 2", 20.0), ("refinement", 26.0), ("refinement", 30.0)]
    lines = [json.dumps({"seconds": seconds, "stage": stage}) for stage, seconds in logged]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    found = stage_seconds(tmp_path, 33.0)
    assert found == {"reading_s": 5.0, "search_s": 15.0, "global_s": 6.0, "rounds_s": 4.0, "final_s": 3.0}
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines[:3]) + "\n")
    assert stage_seconds(tmp_path, 33.0) == {}


def test_the_box_of_a_map_is_1_6_times_the_longest_extent(tmp_path: Path) -> None:
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 20.0], dtype=torch.float64)] * 3)
    n = len(corners)
    weights = torch.ones(n, dtype=torch.float64)
    atoms = Atoms(np.full(n, "C"), corners, 20 * weights, weights, np.full(n, "A"))
    assert longest_extent_A(atoms) == pytest.approx(20 * 3**0.5)
    volume = read_map(make_map(atoms, 32, tmp_path / "map.mrc"))
    assert volume.box == 32
    assert volume.box * volume.voxel_size_A == pytest.approx(1.6 * 20 * 3**0.5, abs=0.02)


def test_a_structure_is_found_by_the_beginning_of_its_name(tmp_path: Path) -> None:
    for name in ("4V5A_a.cif", "6swy.pdb", "6swz.pdb"):
        (tmp_path / name).touch()
    assert find_structure(tmp_path, "4v5a").name == "4V5A_a.cif"
    for name in ("6sw", "1abc"):
        with pytest.raises(FileNotFoundError, match=name):
            find_structure(tmp_path, name)
