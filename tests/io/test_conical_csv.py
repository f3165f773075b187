"""The table of conical FSC: what it holds, and that it reads back."""

import csv

import pytest
import torch

from vitreous.data import ConicalCurves
from vitreous.errors import InputError
from vitreous.geometry.grids import fibonacci_directions
from vitreous.io.conical_csv import read_conical_csv, write_conical_csv


@pytest.fixture
def cones(generator):
    frequency = torch.arange(6, dtype=torch.float64) / 40
    fsc = 2 * torch.rand(7, 6, generator=generator, dtype=torch.float64) - 1
    resolution, sampling = 8 + torch.rand(2, 7, generator=generator, dtype=torch.float64)
    return ConicalCurves(frequency, fibonacci_directions(14)[:7], fsc, resolution, sampling)


def test_a_table_reads_back(tmp_path, cones):
    write_conical_csv(tmp_path / "c.csv", cones)
    again = read_conical_csv(tmp_path / "c.csv")
    for name, tolerance in (("frequency_per_A", 1e-9), ("directions", 1e-6), ("fsc", 6e-6), ("resolution_A", 1e-6)):
        torch.testing.assert_close(getattr(again, name), getattr(cones, name).double(), atol=tolerance, rtol=0)
    torch.testing.assert_close(again.sampling, cones.sampling, atol=1e-6, rtol=0)


def test_the_table_says_what_it_holds(tmp_path, cones):
    write_conical_csv(tmp_path / "c.csv", cones)
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    assert float(rows[2]["direction_z"]) == pytest.approx(float(cones.directions[2, 2]))
    assert float(rows[2]["step_per_A"]) == 1 / 40
    assert float(rows[2]["fsc_5"]) == pytest.approx(float(cones.fsc[2, 5]), abs=6e-6)


@pytest.mark.parametrize("spoil", [
    lambda text: "",
    lambda text: text.splitlines()[0],
    lambda text: text.replace("sampling", "slices"),
    lambda text: text.replace("fsc_3,", ""),
    lambda text: text.rsplit(",", 1)[0],
    lambda text: text.rsplit(",", 1)[0] + ",much",
])  # fmt: skip
def test_damage_is_named(tmp_path, cones, spoil):
    path = tmp_path / "c.csv"
    write_conical_csv(path, cones)
    path.write_text(spoil(path.read_text()))
    with pytest.raises(InputError, match=r"c\.csv.*conical FSC.*Remove"):
        read_conical_csv(path)
