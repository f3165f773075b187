import json
import math
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch

from vitreous.data import Volume
from vitreous.errors import ConfigError, ResourceError
from vitreous.io import open_particles
from vitreous.io.maps import read_map
from vitreous.physics.image_model import render
from vitreous.physics.slices import FourierVolume
from vitreous.simulate import stack
from vitreous.simulate.config import SimulationConfig
from vitreous.simulate.motions import State, phantom_hinge
from vitreous.simulate.stack import plan_simulation, simulate_stack

CONFIG = SimulationConfig(n=60, box=32, pixel_size=7.0, snr=0.5, seed=5)
STATES = [
    replace(state, atoms=state.atoms.select(torch.arange(len(state.atoms)) % 5 == 0))  # enough at this resolution
    for state in phantom_hinge((-30.0, 30.0)).states()
]


def simulate(folder: Path, states: list[State] = STATES, **changes: object) -> Path:
    folder.mkdir(exist_ok=True)
    simulate_stack(plan_simulation(states, replace(CONFIG, **changes)), folder)  # type: ignore[arg-type]
    return folder


def raw_images(folder: Path) -> np.ndarray:
    with mrcfile.open(folder / "particles.mrcs", permissive=False) as file:
        return np.array(file.data, dtype=np.float32)


def correlations(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (first, second))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("clean"), snr=math.inf)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("noisy"))


def rendered(folder: Path) -> torch.Tensor:
    """Render every particle of truth.star anew from the state map that its class names."""
    particles = open_particles(folder / "truth.star")
    assert particles.poses is not None
    assert particles.table is not None
    state = torch.from_numpy(particles.table.particles["rlnClassNumber"].astype(np.int64))
    out = torch.zeros(len(particles), particles.box, particles.box)
    for k in (1, 2):
        rows = torch.nonzero(state == k)[:, 0]
        volume = FourierVolume.from_map(read_map(folder / f"state_{k:02d}.mrc").values)
        out[rows] = render(volume, particles.poses.select(rows), particles.optics.select(rows), particles.pixel_size_A)
    return out


def test_files_tell_everything_that_is_needed_to_make_the_images_again(clean: Path) -> None:
    images = torch.from_numpy(raw_images(clean))
    assert float(correlations(images, rendered(clean)).min()) > 0.9999


def test_projections_of_atoms_appear_where_poses_and_shifts_say(clean: Path) -> None:
    """By hand, without the projector: atoms are turned, moved and summed along z; no CTF but its sign at low s."""
    particles = open_particles(simulate(clean / "plain", snr=math.inf, ctf="none", n=8) / "truth.star")
    truth = json.loads((clean / "plain" / "truth.json").read_text())
    assert particles.poses is not None
    assert particles.table is not None
    images = torch.from_numpy(raw_images(clean / "plain")).double()
    axis = (torch.arange(32, dtype=torch.float64) - 16) * 7.0
    for i in range(8):
        state = STATES[int(particles.table.particles["rlnClassNumber"][i]) - 1]
        centred = state.atoms.xyz_A - torch.tensor(truth["centre_A"], dtype=torch.float64)
        lab = centred @ particles.poses.rotations[i].double().T
        at = lab[:, :2] + particles.poses.shifts_A[i].double()
        spread = 6.5  # Å, about the map's resolution
        x, y = (torch.exp(-((axis[:, None] - at[:, d]) ** 2) / (2 * spread**2)) for d in (0, 1))
        assert float(correlations((y @ x.T)[None], images[i : i + 1])) > 0.98


def test_noise_has_the_stated_share(noisy: Path, clean: Path) -> None:
    images, signal = torch.from_numpy(raw_images(noisy)), torch.from_numpy(raw_images(clean))
    background = torch.hypot(*(torch.meshgrid(*[torch.arange(32.0) - 16] * 2, indexing="ij"))) > 16
    assert float(images[:, background].mean(1).abs().max()) < 1e-5
    torch.testing.assert_close(images[:, background].std(1, correction=0), torch.ones(60))
    fit = torch.linalg.lstsq(
        torch.stack([signal.flatten(), torch.ones(signal.numel())], 1), images.flatten()[:, None]
    ).solution
    noise = images.flatten() - fit[0] * signal.flatten() - fit[1]
    assert float((fit[0] * signal).var() / noise.var()) == pytest.approx(0.5, rel=0.1)


def test_noise_free_images_have_variance_one(clean: Path) -> None:
    assert float(raw_images(clean).var()) == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("snr", [0.05, 2.0])
def test_the_variance_grows_with_the_snr(tmp_path: Path, snr: float) -> None:
    """With white noise of variance 1, adding a signal of variance SNR gives 1 + SNR before normalisation."""
    config = replace(CONFIG, snr=snr)
    plan = plan_simulation(STATES, config)
    simulated = simulate_stack(plan, tmp_path)
    assert simulated.signal_scale**2 * simulated.signal_variance == pytest.approx(snr)


def test_dark_particles_are_the_negative_of_bright_ones_but_for_the_noise(tmp_path: Path, clean: Path) -> None:
    dark = simulate(tmp_path / "dark", snr=math.inf, contrast="dark")
    np.testing.assert_array_equal(raw_images(dark), -raw_images(clean))


def test_float16_holds_the_same_images(tmp_path: Path, noisy: Path) -> None:
    half = simulate(tmp_path / "half", float16=True)
    with mrcfile.open(half / "particles.mrcs") as file:
        assert file.data.dtype == np.float16
    np.testing.assert_allclose(raw_images(half), raw_images(noisy), atol=5e-3)


def test_the_seed_decides_everything(tmp_path: Path, noisy: Path) -> None:
    np.testing.assert_array_equal(raw_images(simulate(tmp_path / "again")), raw_images(noisy))
    other = raw_images(simulate(tmp_path / "other", seed=6))
    assert abs(np.corrcoef(other.ravel(), raw_images(noisy).ravel())[0, 1]) < 0.5


def test_noise_is_independent_between_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "_BATCH_PIXELS", 32 * 32 * 20)
    images = raw_images(simulate(tmp_path / "few", snr=1e-4)).reshape(60, -1)
    correlation = np.corrcoef(images) - np.eye(60)
    assert np.abs(correlation).max() < 6 / 32


def test_particles_star_holds_no_poses_and_truth_star_does(noisy: Path) -> None:
    assert open_particles(noisy / "particles.star").poses is None
    truth = open_particles(noisy / "truth.star")
    plan = plan_simulation(STATES, CONFIG)
    assert truth.poses is not None
    torch.testing.assert_close(truth.poses.rotations, plan.truth.poses.rotations, atol=1e-5, rtol=0)
    torch.testing.assert_close(truth.poses.shifts_A, plan.truth.poses.shifts_A, atol=1e-5, rtol=0)
    torch.testing.assert_close(truth.optics.defocus_u_A, plan.truth.optics.defocus_u_A)


def test_latents_and_truth_agree_on_the_states(noisy: Path) -> None:
    rows = [line.split(",") for line in (noisy / "latents_truth.csv").read_text().splitlines()]
    assert rows[0] == ["id", "state", "coordinate_1", "split"]
    particles = open_particles(noisy / "truth.star")
    assert particles.table is not None
    assert [row[0] for row in rows[1:]] == particles.ids.tolist()
    assert [int(row[1]) for row in rows[1:]] == particles.table.particles["rlnClassNumber"].tolist()
    assert {(row[1], float(row[2])) for row in rows[1:]} == {("1", -30.0), ("2", 30.0)}
    assert {row[3] for row in rows[1:]} == {"train"}
    truth = json.loads((noisy / "truth.json").read_text())
    assert [s["particles"] for s in truth["states"]] == [sum(r[1] == k for r in rows) for k in ("1", "2")]
    assert truth["pixel_size_A"] == particles.pixel_size_A == 7.0


def test_state_maps_share_one_frame(noisy: Path) -> None:
    """The core does not move between states, so that maps differ only where the arm is."""
    first, second = (read_map(noisy / f"state_0{k}.mrc") for k in (1, 2))
    still = [state.atoms.in_chains(("A", "B", "D")) for state in STATES]
    assert torch.equal(STATES[0].atoms.xyz_A[still[0]], STATES[1].atoms.xyz_A[still[1]])
    difference = (first.values - second.values).abs() > 0.1 * first.values.max()
    centre = plan_simulation(STATES, CONFIG).centre_A
    at = (torch.nonzero(difference).flip(1).double() - 16) * 7.0 + centre
    arm = torch.cat([state.atoms.xyz_A[state.atoms.in_chains(("C",))] for state in STATES])
    assert len(at) > 20
    assert float(torch.cdist(at, arm).min(1).values.max()) < 20.0


def test_a_model_too_large_for_the_box_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not fit"):
        simulate(tmp_path, pixel_size=2.0)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(ResourceError, match="disk is full"):
        simulate(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_rigid_specimen_without_a_pixel_size_fills_its_box(tmp_path: Path) -> None:
    plan = plan_simulation(STATES[:1], replace(CONFIG, pixel_size=None))
    volume: Volume = plan.density(plan.states[0])
    radius = float((STATES[0].atoms.xyz_A - plan.centre_A).norm(dim=1).max())
    assert 2 * radius / (32 * volume.voxel_size_A) == pytest.approx(0.8, abs=0.01)
    assert plan.grid.resolution_A == pytest.approx(2.2 * volume.voxel_size_A)
