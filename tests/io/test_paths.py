from pathlib import Path

import pytest

from vitreous.errors import InputError
from vitreous.io.paths import find_stack, resolve_stacks


def _touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_folders_above_the_metadata_file(tmp_path: Path) -> None:
    stack = _touch(tmp_path / "Extract" / "job5" / "a.mrcs")
    beside = _touch(tmp_path / "Refine3D" / "job9" / "b.mrcs")
    star = tmp_path / "Refine3D" / "job9" / "run_data.star"
    assert resolve_stacks(["Extract/job5/a.mrcs", "./b.mrcs"], star, None) == [stack, beside]


def test_the_nearest_folder_wins_for_the_first_stack(tmp_path: Path) -> None:
    _touch(tmp_path / "s" / "a.mrcs")
    near = _touch(tmp_path / "job" / "s" / "a.mrcs")
    assert find_stack("s/a.mrcs", tmp_path / "job") == near


@pytest.mark.parametrize("names", [["first.mrcs", "second.mrcs"], ["second.mrcs", "first.mrcs"]])
def test_the_nearest_folder_wins_whatever_the_order(tmp_path: Path, names: list[str]) -> None:
    first = _touch(tmp_path / "first.mrcs")
    _touch(tmp_path / "second.mrcs")
    near = _touch(tmp_path / "job" / "second.mrcs")
    places = {"first.mrcs": first, "second.mrcs": near}
    assert resolve_stacks(names, tmp_path / "job" / "p.star", None) == [places[name] for name in names]


@pytest.mark.parametrize("name", ["old/project/Polish/m1.mrcs", "/gone/Polish/m1.mrcs", "m1.mrcs"])
def test_datadir_takes_any_tail_of_the_name(tmp_path: Path, name: str) -> None:
    place = "m1.mrcs" if name == "m1.mrcs" else "Polish/m1.mrcs"
    stack = _touch(tmp_path / "data" / place)
    assert resolve_stacks([name], tmp_path / "p.star", tmp_path / "data") == [stack]


def test_absolute_names_need_no_datadir(tmp_path: Path) -> None:
    stack = _touch(tmp_path / "a.mrcs")
    assert resolve_stacks([str(stack)], tmp_path / "x" / "p.star", None) == [stack]


def test_two_stacks_of_one_file_name_are_not_confused(tmp_path: Path) -> None:
    _touch(tmp_path / "data" / "m.mrcs")
    with pytest.raises(InputError, match="lead to the same file"):
        resolve_stacks(["a/m.mrcs", "b/m.mrcs"], tmp_path / "p.star", tmp_path / "data")


@pytest.mark.parametrize("other", ["link.mrcs", "../job/a.mrcs", "linked/a.mrcs"])
def test_one_file_under_two_names_is_refused(tmp_path: Path, other: str) -> None:
    stack = _touch(tmp_path / "job" / "a.mrcs")
    (tmp_path / "job" / "link.mrcs").symlink_to(stack)
    (tmp_path / "job" / "linked").symlink_to(tmp_path / "job")
    with pytest.raises(InputError, match="lead to the same file"):
        resolve_stacks(["a.mrcs", other], tmp_path / "job" / "p.star", None)


def test_missing_files_are_counted_and_named(tmp_path: Path) -> None:
    _touch(tmp_path / "a.mrcs")
    names = ["a.mrcs", *(f"gone{i}.mrcs" for i in range(5))]
    with pytest.raises(InputError, match=r"5 of 6 image files not found: gone0\.mrcs, gone1\.mrcs, gone2\.mrcs, …"):
        resolve_stacks(names, tmp_path / "p.star", tmp_path)
