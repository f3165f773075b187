import csv
from xml.etree import ElementTree

import pytest
import torch

from vitreous.data import ResolutionCurves
from vitreous.errors import InputError, ResourceError
from vitreous.io.fsc_csv import read_fsc_csv, write_fsc_csv
from vitreous.io.fsc_xml import write_fsc_xml

FREQUENCY = torch.arange(9, dtype=torch.float64) / 64
CURVE = torch.linspace(1, -0.0731, 9, dtype=torch.float64)
BARE = ResolutionCurves(FREQUENCY, CURVE)
FULL = ResolutionCurves(FREQUENCY, CURVE, CURVE**2, CURVE**3, CURVE**4, 0.046875)


@pytest.mark.parametrize("curves", [BARE, FULL])
def test_a_table_reads_back_exactly(tmp_path, curves):
    write_fsc_csv(tmp_path / "fsc.csv", curves)
    again = read_fsc_csv(tmp_path / "fsc.csv")
    for name in ("frequency_per_A", "unmasked", "masked", "randomised", "corrected"):
        expected, found = getattr(curves, name), getattr(again, name)
        assert (found is None) == (expected is None)
        assert expected is None or torch.equal(found, expected)
    assert again.randomised_from_per_A == curves.randomised_from_per_A


def test_the_table_says_what_it_holds(tmp_path):
    write_fsc_csv(tmp_path / "fsc.csv", FULL)
    with (tmp_path / "fsc.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert rows[0]["resolution_A"] == ""
    assert float(rows[4]["resolution_A"]) == 16.0
    assert float(rows[4]["corrected"]) == pytest.approx(CURVE[4].item() ** 4)


def test_the_xml_has_the_form_that_emdb_takes(tmp_path):
    write_fsc_xml(tmp_path / "fsc.xml", FULL, title='"half" <maps> & FSC')
    text = (tmp_path / "fsc.xml").read_text(encoding="utf-8")
    assert text.startswith("<?xml version='1.0' encoding='UTF-8'?>")
    root = ElementTree.fromstring(text)  # noqa: S314
    assert root.tag == "fsc"
    assert root.attrib == {
        "title": '"half" <maps> & FSC',
        "xaxis": "Resolution (A-1)",
        "yaxis": "Correlation Coefficient",
    }
    assert [child.tag for child in root] == ["coordinate"] * 9
    assert [[part.tag for part in child] for child in root] == [["x", "y"]] * 9
    points = torch.tensor([[float(part.text) for part in child] for child in root], dtype=torch.float64)
    torch.testing.assert_close(points, torch.stack([FREQUENCY, CURVE**4], 1), atol=1e-6, rtol=0)


def test_without_a_mask_the_unmasked_curve_is_deposited(tmp_path):
    write_fsc_xml(tmp_path / "fsc.xml", BARE)
    root = ElementTree.parse(tmp_path / "fsc.xml").getroot()  # noqa: S314
    assert float(root[8][1].text) == pytest.approx(-0.0731)
    assert "unmasked" in root.attrib["title"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no FSC table"),
        ("shell,fsc\n0,1\n", "lacks a column .*found shell, fsc"),
        ("frequency_per_A,unmasked\n0,1\n0.1,high\n", "column unmasked .* no number"),
        ("frequency_per_A,unmasked\n0,1\n0.1\n", "column unmasked .* no number"),
    ],
)
def test_damaged_tables_are_refused(tmp_path, text, words):
    path = tmp_path / "fsc.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=rf"fsc\.csv: .*{words}"):
        read_fsc_csv(path)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(InputError, match="file not found"):
        read_fsc_csv(tmp_path / "fsc.csv")
    for write in (write_fsc_csv, write_fsc_xml):
        with pytest.raises(ResourceError, match="folder does not exist"):
            write(tmp_path / "nowhere" / "fsc", BARE)
