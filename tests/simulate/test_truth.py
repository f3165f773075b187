from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from vitreous.errors import ConfigError, InputError
from vitreous.simulate.config import SimulationConfig
from vitreous.simulate.motions import State, phantom_hinge
from vitreous.simulate.noise import noise_block, noise_power
from vitreous.simulate.optics import draw_optics
from vitreous.simulate.streams import named_stream
from vitreous.simulate.truth import Truth, draw_truth

CONFIG = SimulationConfig(n=2000, box=32)
STATES = phantom_hinge((-10.0, 10.0)).states()


def quantities(config: SimulationConfig, states: list[State] = STATES) -> dict[str, torch.Tensor]:
    truth = draw_truth(config, states, 3.0)
    optics = truth.optics
    return {
        "rotation": truth.poses.rotations,
        "shift": truth.poses.shifts_A,
        "defocus": optics.defocus_u_A + optics.defocus_v_A,
        "astigmatism": optics.defocus_u_A - optics.defocus_v_A,
        "astigmatism axis": optics.defocus_angle_deg,
        "state": truth.state,
        "noise": noise_block(0, 4, config, 3.0),
    }


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({"shift": 5.0}, {"shift"}),
        ({"shift": 0.0}, {"shift"}),
        ({"defocus": (5000.0, 6000.0)}, {"defocus"}),
        ({"astigmatism": 100.0}, {"astigmatism"}),
        ({"views": "preferred"}, {"rotation"}),
        ({"ctf": "none"}, {"defocus", "astigmatism", "astigmatism axis"}),
        ({"noise": "coloured"}, {"noise"}),
        ({"snr": 3.0, "contrast": "dark", "resolution": 20.0}, set()),
    ],
)
def test_changing_one_quantity_leaves_all_others_as_they_were(change: dict[str, object], changed: set[str]) -> None:
    before, after = quantities(CONFIG), quantities(replace(CONFIG, **change))  # type: ignore[arg-type]
    close = {"atol": 0.011, "rtol": 0.0}  # defoci are rounded to 0.01 Å
    assert {
        name for name in before if not torch.allclose(before[name].double(), after[name].double(), **close)
    } == changed


def test_more_states_change_nothing_but_the_state() -> None:
    before = quantities(CONFIG)
    after = quantities(CONFIG, phantom_hinge((-10.0, 0.0, 10.0)).states())
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"state"}


def test_no_two_quantities_are_correlated() -> None:
    drawn = quantities(CONFIG)
    del drawn["noise"]
    columns = [(name, c.double()) for name, v in drawn.items() for c in v.reshape(CONFIG.n, -1).T]
    for (first, x), (second, y) in combinations(columns, 2):
        if first != second:
            assert abs(float(torch.corrcoef(torch.stack([x, y]))[0, 1])) < 4.5 / CONFIG.n**0.5


def test_streams_differ_by_name_and_by_seed_and_repeat() -> None:
    first = torch.rand(5, generator=named_stream(1, "pose"))
    assert torch.equal(first, torch.rand(5, generator=named_stream(1, "pose")))
    assert not torch.equal(first, torch.rand(5, generator=named_stream(1, "shift")))
    assert not torch.equal(first, torch.rand(5, generator=named_stream(2, "pose")))


def test_ranges_are_those_of_the_settings() -> None:
    drawn = quantities(CONFIG)
    assert float(drawn["shift"].abs().max()) == pytest.approx(6.0, abs=0.05)
    assert float(drawn["defocus"].min()) / 2 == pytest.approx(8000, abs=50)
    assert float(drawn["defocus"].max()) / 2 == pytest.approx(25000, abs=50)
    assert float(drawn["astigmatism"].max()) == pytest.approx(600, abs=2)


def test_states_are_populated_by_weight() -> None:
    states = [replace(state, weight=w) for state, w in zip(STATES, (1.0, 4.0))]
    counts = torch.bincount(draw_truth(CONFIG, states, 3.0).state)
    assert float(counts[1]) / CONFIG.n == pytest.approx(0.8, abs=0.03)


def test_coloured_noise_has_the_stated_spectrum_and_unit_variance() -> None:
    config = replace(CONFIG, noise="coloured", noise_scale=30.0)
    noise = noise_block(0, 500, config, 3.0)
    assert float(noise.var()) == pytest.approx(1.0, rel=0.01)
    power = torch.fft.fft2(noise, norm="ortho").abs().square().mean(0)
    k = torch.fft.fftfreq(32, 1 / 32)
    shell = torch.floor(torch.hypot(k[:, None], k) + 0.5).long()
    expected = noise_power(config, 3.0)
    for index in (0, 1, 3, 8, 15):
        n = 500 * int((shell == index).sum())
        assert float(power[shell == index].mean()) == pytest.approx(float(expected[index]), rel=6 * n**-0.5)
    ratio = (0.25 + 1 / (1 + (8 / 96 * 30.0) ** 2)) / 1.25
    assert float(expected[8] / expected[0]) == pytest.approx(ratio)


def write_ctf(path: Path, **changes: object) -> Path:
    arrays: dict[str, object] = {
        "dfu_A": np.array([10000.0, 20000.0, 15000.0]),
        "dfv_A": np.array([11000.0, 20500.0, 15000.0]),
        "dfang_deg": np.array([10.0, 20.0, 30.0]),
        "kv": np.array([300.0, 200.0, 300.0]),
        "cs_mm": np.full(3, 2.7),
        "amp": np.full(3, 0.07),
    }
    arrays |= changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})  # type: ignore[arg-type]
    return path


def test_optics_from_a_file_are_its_rows_with_a_group_per_microscope(tmp_path: Path) -> None:
    path = write_ctf(tmp_path / "ctf.npz", phase_deg=np.array([0.0, 90.0, 0.0]))
    optics = draw_optics(replace(CONFIG, n=300, ctf=str(path)))
    rows = torch.stack([optics.defocus_u_A, optics.defocus_v_A, optics.voltage_kV, optics.phase_shift_deg], 1)
    assert sorted(set(map(tuple, rows.tolist()))) == [
        (10000.0, 11000.0, 300.0, 0.0),
        (15000.0, 15000.0, 300.0, 0.0),
        (20000.0, 20500.0, 200.0, 90.0),
    ]
    for voltage in (200.0, 300.0):
        assert len(set(optics.group[optics.voltage_kV == voltage].tolist())) == 1
    assert len(optics.group_names) == 2


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"amp": None}, "lacks amp"),
        ({"kv": np.array([300.0])}, "kv cannot be used"),
        ({"dfu_A": np.array([np.nan, 1.0, 1.0])}, "dfu_A cannot be used"),
        ({"kv": np.zeros(3)}, "impossible CTF"),
        ({"amp": np.full(3, 7.0)}, "impossible CTF"),
        ({"amp": np.array(["a", "b", "c"])}, "amp cannot be used"),
        ({"dfu_A": np.array([{}, {}, {}], dtype=object)}, "cannot be read"),
    ],
)
def test_unusable_ctf_files_are_refused(tmp_path: Path, changes: dict[str, object], what: str) -> None:
    with pytest.raises(InputError, match=what):
        draw_optics(replace(CONFIG, ctf=str(write_ctf(tmp_path / "ctf.npz", **changes))))


def test_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such CTF file"):
        draw_optics(replace(CONFIG, ctf=str(tmp_path / "none.npz")))
    with pytest.raises(ConfigError, match="--views cannot be used"):
        draw_truth(replace(CONFIG, views="sideways"), STATES, 3.0)


def test_real_ctf_parameters_are_used(shared_data: Path) -> None:
    optics = draw_optics(replace(CONFIG, ctf=str(shared_data / "ctf" / "empiar10028_ctf.npz")))
    assert float(optics.voltage_kV.min()) == 300.0
    assert 5000 < float(optics.defocus_u_A.min()) < float(optics.defocus_u_A.max()) < 60000


@pytest.mark.parametrize(
    ("setting", "flag"),
    [
        ({"n": 0}, "--n"),
        ({"box": 7}, "--box"),
        ({"snr": 0.0}, "--snr"),
        ({"snr": float("nan")}, "--snr"),
        ({"snr": -1.0}, "--snr"),
        ({"pixel_size": 0.0}, "--pixel-size"),
        ({"resolution": float("inf")}, "--resolution"),
        ({"shift": -1.0}, "--shift"),
        ({"shift": 40.0}, "--shift"),
        ({"concentration": 1e9}, "--concentration"),
        ({"preferred_axis": (0.0, 0.0, 0.0)}, "--preferred-axis"),
        ({"defocus": (3.0, 1.0)}, "--defocus"),
        ({"astigmatism": -1.0}, "--astigmatism"),
        ({"voltage": 0.0}, "--voltage"),
        ({"amplitude_contrast": 1.1}, "--amplitude-contrast"),
        ({"noise_scale": 0.0}, "--noise-scale"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_impossible_settings_are_refused_by_the_name_of_their_flag(setting: dict[str, object], flag: str) -> None:
    with pytest.raises(ConfigError, match=f"{flag} cannot be used"):
        SimulationConfig(**setting)  # type: ignore[arg-type]


def test_a_truth_counts_its_particles() -> None:
    truth = draw_truth(replace(CONFIG, n=7), STATES, 3.0)
    assert isinstance(truth, Truth)
    assert len(truth) == len(truth.poses) == len(truth.optics) == 7
