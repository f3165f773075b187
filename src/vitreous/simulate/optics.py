"""Contrast-transfer parameters of simulated particles."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vitreous.data import Optics
from vitreous.errors import InputError
from vitreous.io.relion import read_relion
from vitreous.simulate.arrays import numbers, read_arrays
from vitreous.simulate.config import SimulationConfig
from vitreous.simulate.streams import named_stream
from vitreous.typing import Float, PathLike, Tensor

_NPZ_KEYS = {
    "defocus_u_A": "dfu_A",
    "defocus_v_A": "dfv_A",
    "defocus_angle_deg": "dfang_deg",
    "voltage_kV": "kv",
    "cs_mm": "cs_mm",
    "amplitude_contrast": "amp",
}


def draw_optics(config: SimulationConfig) -> Optics:
    """Draw one CTF per particle from the configured distribution or file.

    Raises
    ------
    InputError
        If the CTF file cannot be used.
    """
    if config.ctf == "none":
        return Optics.without_ctf(config.n)
    if config.ctf == "random":
        return _random_optics(config)
    table = read_ctf_table(config.ctf)
    rows = torch.randint(len(table), (config.n,), generator=named_stream(config.seed, "ctf row"))
    return table.select(rows)


def _random_optics(config: SimulationConfig) -> Optics:
    def uniform(name: str, low: float, high: float) -> Float[Tensor, " n"]:
        drawn = torch.rand(config.n, generator=named_stream(config.seed, name), dtype=torch.float64)
        return (low + (high - low) * drawn).round(decimals=2)  # as many digits as a file needs

    mean = uniform("defocus", *config.defocus)
    half = uniform("astigmatism", 0.0, config.astigmatism / 2)
    ones = torch.ones_like(mean)
    return Optics(
        voltage_kV=config.voltage * ones,
        cs_mm=config.cs * ones,
        amplitude_contrast=config.amplitude_contrast * ones,
        defocus_u_A=mean + half,
        defocus_v_A=mean - half,
        defocus_angle_deg=uniform("astigmatism axis", 0.0, 180.0),
        phase_shift_deg=0 * ones,
        bfactor_A2=config.bfactor * ones,
        group=torch.zeros(config.n, dtype=torch.int64),
    )


def read_ctf_table(path: PathLike) -> Optics:
    """Read CTF parameters from a RELION STAR or a ``.npz`` with ``dfu_A, dfv_A, dfang_deg, kv, cs_mm, amp``.

    Particles that differ in voltage, Cs or amplitude contrast get different optics groups.

    Raises
    ------
    InputError
        If the file cannot be read or a parameter is missing or impossible.
    """
    if Path(path).suffix == ".star":
        optics = read_relion(path).optics
        if optics is None:
            raise InputError("the STAR file holds no CTF parameters", path=path, remedy="Give one with rlnDefocusU")
        return optics
    return _from_arrays(read_arrays(path, "CTF"), path)


def _from_arrays(arrays: dict[str, NDArray[Any]], path: PathLike) -> Optics:
    n = arrays["dfu_A"].size if "dfu_A" in arrays else 0
    columns = {name: numbers(arrays, key, n, path) for name, key in _NPZ_KEYS.items()}
    columns |= {"phase_shift_deg": numbers(arrays, "phase_deg", n, path, 0.0)}
    if n == 0 or (columns["voltage_kV"] <= 0).any() or (np.abs(columns["amplitude_contrast"]) > 1).any():
        raise InputError(
            "holds impossible CTF parameters",
            expected="a positive voltage and an amplitude contrast within -1 to 1 in every row",
            path=path,
            remedy="Remove rows that are no real CTFs",
        )
    constants = np.stack([columns[name] for name in ("voltage_kV", "cs_mm", "amplitude_contrast")], 1)
    kinds, group = np.unique(constants, axis=0, return_inverse=True)
    return Optics(
        **{name: torch.from_numpy(column) for name, column in columns.items()},
        bfactor_A2=torch.zeros(len(group), dtype=torch.float64),
        group=torch.from_numpy(group.reshape(-1).astype(np.int64)),
        group_names=tuple(f"opticsGroup{i + 1}" for i in range(len(kinds))),
    )
