from pathlib import Path

import pytest

from vitreous.cli.context import RunContext
from vitreous.cli.parsing import parse
from vitreous.cli.simulate import Simulate
from vitreous.errors import ConfigError, InputError
from vitreous.io import open_particles
from vitreous.runs.manifest import Manifest
from vitreous.simulate.recipes import RECIPES, find_recipe

SMALL = ["--n", "12", "--box", "32"]


def simulate(*words: str) -> None:
    command = parse(Simulate, list(words), "simulate")
    command.run(RunContext.start("simulate", words, command))


def test_the_options_make_the_stack(tmp_path: Path) -> None:
    simulate("phantom", "-o", str(tmp_path / "out"), *SMALL, "--pixel-size", "6.5", "--voltage", "200", "--quiet")
    particles = open_particles(tmp_path / "out" / "particles.star")
    assert (len(particles), particles.box, particles.pixel_size_A) == (12, 32, 6.5)
    assert set(particles.optics.voltage_kV.tolist()) == {200.0}


def test_a_recipe_gives_what_the_words_do_not(tmp_path: Path) -> None:
    simulate("--recipe", "phantom-two-states", "-o", str(tmp_path / "out"), *SMALL, "--seed=3", "--quiet")
    again = tmp_path / "again"
    simulate("phantom", "--hinge-angles", "-30", "30", "-o", str(again), *SMALL, "--seed", "3", "--quiet")
    for name in ("particles.mrcs", "truth.star", "state_02.mrc"):
        first, second = ((folder / name).read_bytes() for folder in (tmp_path / "out", again))
        assert first[1024:] == second[1024:]


def test_a_word_that_repeats_a_default_still_overrides_the_recipe() -> None:
    words = ["--recipe", "phantom-hinge", "--snr", "0.1"]
    config, _ = parse(Simulate, words, "simulate")._resolved(words)
    assert (config.snr, config.n) == (0.1, RECIPES["phantom-hinge"].config.n)


def test_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    simulate("--recipes")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(RECIPES)


def test_earlier_work_is_only_replaced_on_demand(tmp_path: Path) -> None:
    out = tmp_path / "out"
    simulate("phantom", "-o", str(out), *SMALL, "--hinge-angles", "-5", "5", "--quiet")
    with pytest.raises(ConfigError, match="earlier run"):
        simulate("phantom", "-o", str(out), *SMALL)
    simulate("phantom", "-o", str(out), *SMALL, "--overwrite", "--quiet")
    assert sorted(path.name for path in out.glob("state_*")) == ["state_01.mrc"]


def test_files_of_others_are_never_touched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError):
        simulate("phantom", "-o", str(tmp_path), *SMALL, "--overwrite")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ([], "no output folder"),
        (["--recipe", "nonsense"], "--recipe is not known"),
        (["--recipe", "ribosome-64"], "is for another specimen"),
        (["--snr", "-1"], "--snr cannot be used"),
        (["--snr", "many"], "--snr"),
        (["--nois", "white"], "no option or place"),
        (["--pixel-size", "1"], "does not fit into the box"),
        (["--hinge-angles", "90"], "cannot turn so far"),
    ],
)
def test_bad_words_are_refused_and_leave_nothing(tmp_path: Path, words: list[str], what: str) -> None:
    out = [] if what == "no output folder" else ["-o", str(tmp_path / "out")]
    with pytest.raises(ConfigError, match=what):
        simulate("phantom", *words, *out)
    assert not (tmp_path / "out").exists()


def test_a_structure_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such structure file"):
        simulate(str(tmp_path / "none.cif"), "-o", str(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_every_recipe_can_be_found_by_its_name() -> None:
    assert all(find_recipe(name).name == name for name in RECIPES)


def test_the_manifest_holds_the_whole_command_line(tmp_path: Path) -> None:
    simulate("phantom", "-o", str(tmp_path / "out"), *SMALL, "--quiet")
    assert list(Manifest.read(tmp_path / "out").command[:3]) == ["vitreous", "simulate", "phantom"]
