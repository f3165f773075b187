"""Conical FSC as a table that any program reads: one row per cone."""

import csv

import torch

from vitreous.data import ConicalCurves
from vitreous.errors import InputError
from vitreous.io.access import reading
from vitreous.io.atomic import atomic_path
from vitreous.typing import PathLike, Tensor

_COLUMNS = ("direction_x", "direction_y", "direction_z", "resolution_A", "sampling", "step_per_A")


def write_conical_csv(path: PathLike, cones: ConicalCurves) -> None:
    """Write one row per cone.

    Columns: ``direction_x``, ``direction_y``, ``direction_z``, ``resolution_A``, ``sampling``, ``step_per_A``
    (frequency from one shell to the next, the same in every row) and the FSC of every shell, ``fsc_0``, ``fsc_1`` …
    """
    step = torch.full_like(cones.resolution_A, float(cones.frequency_per_A[1]))
    head = torch.cat([cones.directions, torch.stack([cones.resolution_A, cones.sampling, step], 1)], 1)
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*_COLUMNS, *(f"fsc_{shell}" for shell in range(cones.fsc.shape[1]))])
        for first, curve in zip(head.tolist(), cones.fsc.tolist()):
            table.writerow([*(f"{value:.8g}" for value in first), *(f"{value:.5f}" for value in curve)])


def read_conical_csv(path: PathLike) -> ConicalCurves:
    """Read what :func:`write_conical_csv` wrote.

    Raises
    ------
    InputError
        Where the file is missing, lacks a column, or a cell is no number.
    """
    with reading(path) as file_path, file_path.open(newline="", encoding="utf-8", errors="replace") as file:
        header, *rows = [*csv.reader(file)] or [[]]
    wanted = [*_COLUMNS, *(f"fsc_{shell}" for shell in range(len(header) - len(_COLUMNS)))]
    if header != wanted or len(header) < len(_COLUMNS) + 2 or not rows:
        raise InputError("no table of conical FSC", remedy="Remove the file, or run again", path=path)
    values = _numbers(path, rows)
    shells = torch.arange(len(header) - len(_COLUMNS), dtype=torch.float64)
    return ConicalCurves(
        frequency_per_A=shells * values[0, 5],
        directions=values[:, :3],
        fsc=values[:, len(_COLUMNS) :],
        resolution_A=values[:, 3],
        sampling=values[:, 4],
    )


def _numbers(path: PathLike, rows: list[list[str]]) -> Tensor:
    try:
        return torch.tensor([[float(cell) for cell in row] for row in rows], dtype=torch.float64)
    except ValueError as error:
        raise InputError(
            "the table of conical FSC holds a row that is too short or a cell that is no number",
            remedy="Remove the file, or run again",
            path=path,
        ) from error
