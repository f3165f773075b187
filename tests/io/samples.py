"""Small particle sets that tests write and then spoil."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np

N, BOX, PIXEL_A = 4, 16, 2.5

Table = dict[str, Sequence[Any]]


def images(n: int = N, box: int = BOX, seed: int = 0) -> np.ndarray:
    """Bright Gaussian blobs in white noise, float32."""
    offset = np.arange(box) - box // 2
    blob = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * (box / 8) ** 2))
    noise = np.random.default_rng(seed).standard_normal((n, box, box))
    return (noise + 3 * blob).astype(np.float32)


def write_images(path: Path, data: np.ndarray | None = None, pixel_size_A: float = PIXEL_A) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), mrcfile.new(path, overwrite=True) as mrc:
        warnings.simplefilter("ignore", RuntimeWarning)  # mrcfile notices NaN, which some tests write on purpose
        mrc.set_data(images() if data is None else data)
        mrc.set_image_stack()
        mrc.voxel_size = pixel_size_A
    return path


def optics(**changes: Sequence[Any]) -> Table:
    table: Table = {
        "rlnOpticsGroup": [1],
        "rlnOpticsGroupName": ["opticsGroup1"],
        "rlnVoltage": [300.0],
        "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1],
        "rlnImagePixelSize": [PIXEL_A],
        "rlnImageSize": [BOX],
        "rlnImageDimensionality": [2],
    }
    return table | changes


def particles(n: int = N, **changes: Sequence[Any]) -> Table:
    table: Table = {
        "rlnImageName": [f"{i + 1:06d}@particles.mrcs" for i in range(n)],
        "rlnMicrographName": [f"mic{i}.mrc" for i in range(n)],
        "rlnOpticsGroup": [1] * n,
        "rlnDefocusU": [12000.5 + i for i in range(n)],
        "rlnDefocusV": [11800.25 + i for i in range(n)],
        "rlnDefocusAngle": [30.0 + i for i in range(n)],
        "rlnAngleRot": [10.0 + 20 * i for i in range(n)],
        "rlnAngleTilt": [40.0 + 10 * i for i in range(n)],
        "rlnAnglePsi": [-50.0 + 5 * i for i in range(n)],
        "rlnOriginXAngst": [1.25 * (i % 16) for i in range(n)],
        "rlnOriginYAngst": [-0.75 * (i % 16) for i in range(n)],
        "rlnRandomSubset": [1 + i % 2 for i in range(n)],
    }
    return table | changes


def star_text(blocks: Mapping[str, Table]) -> str:
    lines = []
    for name, table in blocks.items():
        lines += ["", f"data_{name}", "", "loop_"]
        lines += [f"_{label} #{number}" for number, label in enumerate(table, 1)]
        lines += [" ".join(map(str, row)) for row in zip(*table.values())]
        lines.append("")
    return "\n".join(lines) + "\n"


def write_star(path: Path, particle_table: Table | None = None, optics_table: Table | None = None) -> Path:
    """Write a RELION 3.1 STAR file and, beside it, its stack."""
    if not (path.parent / "particles.mrcs").exists():
        write_images(path.parent / "particles.mrcs")
    blocks = {"optics": optics_table or optics(), "particles": particle_table or particles()}
    path.write_text(star_text(blocks), encoding="utf-8")
    return path


def cs_rows(n: int = N, **changes: Any) -> np.ndarray:
    """Rows of a cryoSPARC data set; a change to None removes a field."""
    rng = np.random.default_rng(1)
    fields: dict[str, Any] = {
        "uid": np.arange(100, 100 + n, dtype="<u8"),
        "blob/path": np.full(n, b"J1/extract/particles.mrc"),
        "blob/idx": np.arange(n, dtype="<u4"),
        "blob/shape": np.full((n, 2), BOX, dtype="<u4"),
        "blob/psize_A": np.full(n, PIXEL_A, dtype="<f4"),
        "blob/sign": np.full(n, -1, dtype="<f4"),
        "ctf/exp_group_id": np.array([3, 3, 8, 8] * n, dtype="<u4")[:n],
        "ctf/accel_kv": np.full(n, 200, dtype="<f4"),
        "ctf/cs_mm": np.full(n, 2.0, dtype="<f4"),
        "ctf/amp_contrast": np.full(n, 0.07, dtype="<f4"),
        "ctf/df1_A": np.linspace(15000, 16000, n, dtype="<f4"),
        "ctf/df2_A": np.linspace(14800, 15900, n, dtype="<f4"),
        "ctf/df_angle_rad": np.linspace(-1, 1, n, dtype="<f4"),
        "ctf/phase_shift_rad": np.full(n, 0.5, dtype="<f4"),
        "ctf/bfactor": np.full(n, 20, dtype="<f4"),
        "alignments3D/split": np.arange(n, dtype="<u4") % 2,
        "alignments3D/shift": rng.uniform(-3, 3, (n, 2)).astype("<f4"),
        "alignments3D/pose": rng.uniform(-1, 1, (n, 3)).astype("<f4"),
        "alignments3D/psize_A": np.full(n, 2 * PIXEL_A, dtype="<f4"),
    }
    fields = {name: column for name, column in (fields | changes).items() if column is not None}
    rows = np.empty(n, dtype=[(name, column.dtype, column.shape[1:]) for name, column in fields.items()])
    for name, column in fields.items():
        rows[name] = column
    return rows


def write_cs_file(path: Path, rows: np.ndarray | None = None) -> Path:
    """Write a .cs file and, in a project folder beside it, its stack."""
    stack = path.parent / "J1" / "extract" / "particles.mrc"
    if not stack.exists():
        write_images(stack, -images())
    with path.open("wb") as file:
        np.save(file, cs_rows() if rows is None else rows)
    return path
