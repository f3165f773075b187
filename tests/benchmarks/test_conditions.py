"""Stacks have what their condition says, and nothing else changes."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from benchmarks.conditions import CONDITIONS, DEFOCUS_ERROR, Make, falling_power, prepare_stack
from benchmarks.stacks import Images

from vitreous.errors import InputError
from vitreous.io import open_particles
from vitreous.io.star import read_star

BOX = 32
PLAIN = Images("phantom", 400, 0.5, seed=1, box=BOX)
NAMES = ("particles", "truth")


def pixels(folder: Path, name: str = "particles.star", **options: object) -> torch.Tensor:
    return open_particles(folder / name, contrast="bright", **options).images()


def agreement(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1))


@pytest.mark.parametrize("condition", [name for name in CONDITIONS if name != "CTF unknown"])
def test_particles_and_truth_name_the_same_images(condition: str, make: Make, tmp_path: Path) -> None:
    stack = prepare_stack(replace(PLAIN, condition=condition, n=60), make, tmp_path / "out")
    particles, truth = (open_particles(stack.folder / f"{name}.star", contrast="bright") for name in NAMES)
    assert len(particles) == 60
    assert particles.poses is None
    assert set(truth.ids) <= set(particles.ids)
    assert len(truth) == 60 or condition == "20 % junk"


def test_preferred_views_follow_their_distribution(make: Make, tmp_path: Path) -> None:
    stack = prepare_stack(replace(PLAIN, condition="preferred views"), make, tmp_path / "out")
    poses = open_particles(stack.folder / "truth.star", contrast="bright").poses
    along = poses.rotations[:, 2, 2]
    # Mean and variance of the cosine under von Mises-Fisher's distribution with κ = 3.
    mean = 1 / math.tanh(3) - 1 / 3
    sigma = math.sqrt(1 / 9 - 1 / math.sinh(3) ** 2)
    assert float(along.mean()) == pytest.approx(mean, abs=4 * sigma / math.sqrt(len(along)))


def test_wrong_defocus_is_wrong_in_both_tables_and_both_ways(make: Make, tmp_path: Path) -> None:
    stack = prepare_stack(replace(PLAIN, condition="defocus 3 % off"), make, tmp_path / "out")
    for name in NAMES:
        right, wrong = (
            read_star(folder / f"{name}.star")["particles"].columns for folder in (tmp_path / "made", stack.folder)
        )
        ratio = torch.from_numpy(wrong["rlnDefocusU"] / right["rlnDefocusU"])
        assert torch.allclose((ratio - 1).abs(), torch.full_like(ratio, DEFOCUS_ERROR))
        assert 0.4 < float((ratio > 1).double().mean()) < 0.6
        assert (wrong["rlnDefocusAngle"] == right["rlnDefocusAngle"]).all()
    assert torch.equal(pixels(stack.folder), pixels(tmp_path / "made"))


def test_an_unknown_ctf_is_in_the_truth_only(make: Make, tmp_path: Path) -> None:
    stack = prepare_stack(replace(PLAIN, condition="CTF unknown", n=60), make, tmp_path / "out")
    with pytest.raises(InputError, match="no CTF"):
        pixels(stack.folder)
    assert stack.reading == ("--ctf", "none")
    assert torch.equal(pixels(stack.folder, ctf=Path("none")), pixels(stack.folder, "truth.star"))


def test_junk_is_a_fifth_and_not_in_the_truth(make: Make, tmp_path: Path) -> None:
    stack = prepare_stack(replace(PLAIN, condition="20 % junk"), make, tmp_path / "out")
    truth = read_star(stack.folder / "truth.star")["particles"]
    assert len(truth) == pytest.approx(320, abs=4 * math.sqrt(400 * 0.2 * 0.8))
    same = agreement(pixels(stack.folder), pixels(tmp_path / "made")) > 0.999
    kept = {name.split("@")[0] for name in truth.columns["rlnImageName"]}
    assert {f"{row + 1:06d}" for row in torch.nonzero(same)[:, 0].tolist()} == kept


def test_half_of_coloured_noise_falls_with_frequency(make: Make, tmp_path: Path) -> None:
    hidden = replace(PLAIN, condition="coloured noise", snr=1e-3)
    stack = prepare_stack(hidden, make, tmp_path / "out")
    particles = open_particles(stack.folder / "particles.star", contrast="bright")
    k = torch.fft.fftfreq(BOX, 1 / BOX)
    shell = (torch.hypot(k[:, None], k) + 0.5).long()
    falling = falling_power(BOX, particles.pixel_size_A)
    assert float(falling[shell].mean()) == pytest.approx(1.0, abs=1e-5)
    spectrum = torch.fft.fft2(particles.images()).abs().square().mean(0)
    found = torch.stack([spectrum[shell == radius].mean() for radius in range(2, 16)])
    wanted = 1 + falling[2:16]
    assert torch.allclose(found / found[-1], wanted / wanted[-1], rtol=0.1)


def test_nothing_is_left_of_the_particle_in_pure_noise(make: Make, tmp_path: Path) -> None:
    stack = prepare_stack(replace(PLAIN, condition="pure noise", snr=0.0), make, tmp_path / "out")
    found = agreement(pixels(stack.folder), pixels(tmp_path / "made"))
    assert abs(float(found.mean())) < 4 / BOX / math.sqrt(len(found))
