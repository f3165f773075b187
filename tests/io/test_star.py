from pathlib import Path

import numpy as np
import pytest
from gemmi import cif
from tests.io.samples import particles, star_text

from vitreous.io.star import read_star
from vitreous.io.star_text import write_star_blocks


def _write(folder: Path, text: str) -> Path:
    path = folder / "t.star"
    path.write_bytes(text.encode())
    return path


LOOSE = """# a comment before everything

data_

loop_
_rlnImageName #1
_rlnGroupName
_rlnDefocusU # comment

1@a.mrcs  "two words" 1.5e4

# a comment between rows
2@a.mrcs\t'single quoted'   12000 # after a row
   3@a.mrcs plain -0.25"""


def test_loose_formatting_is_read_as_meant(tmp_path: Path) -> None:
    columns = read_star(_write(tmp_path, LOOSE))[""].columns
    assert columns["rlnImageName"].tolist() == ["1@a.mrcs", "2@a.mrcs", "3@a.mrcs"]
    assert columns["rlnGroupName"].tolist() == ["two words", "single quoted", "plain"]
    assert columns["rlnDefocusU"].tolist() == [15000.0, 12000.0, -0.25]


@pytest.mark.parametrize("line_end", ["\r\n", "\r"])
def test_line_ends_do_not_matter(tmp_path: Path, line_end: str) -> None:
    columns = read_star(_write(tmp_path, LOOSE.replace("\n", line_end)))[""].columns
    assert columns["rlnGroupName"].tolist() == ["two words", "single quoted", "plain"]


def test_a_stray_line_is_ignored_and_reported(tmp_path: Path) -> None:
    lines = star_text({"particles": particles()}).splitlines()
    lines.insert(lines.index(next(line for line in lines if line.startswith("000003@"))), "9")
    table = read_star(_write(tmp_path, "\n".join(lines)))["particles"]
    assert table.columns["rlnDefocusU"].tolist() == particles()["rlnDefocusU"]
    (note,) = table.notes
    assert f"line {lines.index('9') + 1}" in note


def test_label_value_pairs_are_a_table_of_one_row(tmp_path: Path) -> None:
    text = 'data_general\n\n_rlnFinalResolution 3.5 # Å\n_rlnMaskName "a mask.mrc"\n_rlnNumber 12\n'
    columns = read_star(_write(tmp_path, text))["general"].columns
    assert {name: column.tolist() for name, column in columns.items()} == {
        "rlnFinalResolution": [3.5],
        "rlnMaskName": ["a mask.mrc"],
        "rlnNumber": [12],
    }


def test_names_that_look_like_numbers_stay_names(tmp_path: Path) -> None:
    text = "data_x\nloop_\n_rlnMicrographName\n_rlnClassNumber\n0012 0012\n0013 0001\n"
    columns = read_star(_write(tmp_path, text))["x"].columns
    assert columns["rlnMicrographName"].tolist() == ["0012", "0013"]
    assert columns["rlnClassNumber"].tolist() == [12, 1]


def test_a_row_that_begins_like_a_block_is_a_row(tmp_path: Path) -> None:
    text = "data_x\nloop_\n_rlnMicrographName\n_rlnClassNumber\ndata_12.mrc 1\nloop_3.mrc 2\n"
    assert read_star(_write(tmp_path, text))["x"].columns["rlnClassNumber"].tolist() == [1, 2]


def test_numbers_survive_writing_to_the_last_digit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wide = rng.standard_normal(500) * 10.0 ** rng.integers(-12, 12, 500)
    single = wide.astype(np.float32)
    texts = np.array([f"m{i}" if i % 7 else "with space" for i in range(500)], dtype=np.dtypes.StringDType())
    write_star_blocks(tmp_path / "t.star", {"x": {"a": wide, "b": single, "c": texts, "d": np.arange(500)}})
    columns = read_star(tmp_path / "t.star")["x"].columns
    np.testing.assert_array_equal(columns["a"], wide)
    np.testing.assert_array_equal(columns["b"].astype(np.float32), single)
    assert columns["c"].tolist() == texts.tolist()
    assert columns["d"].tolist() == list(range(500))


def test_awkward_texts_survive_writing(tmp_path: Path) -> None:
    texts = np.array(["", "#x", "_y", "a'b", 'say "no"', "it's", "ü"], dtype=np.dtypes.StringDType())
    write_star_blocks(tmp_path / "t.star", {"x": {"rlnGroupName": texts, "n": np.arange(7)}})
    assert read_star(tmp_path / "t.star")["x"].columns["rlnGroupName"].tolist() == texts.tolist()


def test_agrees_with_gemmi_on_every_regular_file(shared_data: Path) -> None:
    files = [*shared_data.glob("particles/*/*.star")]
    assert files
    for path in files:
        blocks = read_star(path)
        for block in cif.read(str(path)):
            loop = block[0].loop
            columns = blocks[block.name.strip()].columns
            assert list(columns) == [tag[1:] for tag in loop.tags]
            for tag in loop.tags:
                theirs = [cif.as_string(value) for value in block.find_loop(tag)]
                ours = columns[tag[1:]]
                expected = theirs if ours.dtype.kind == "T" else [float(text) for text in theirs]
                assert ours.tolist() == expected, (path, tag)
