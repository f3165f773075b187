"""FSC curves in all their forms as a table that any program reads."""

import csv

import torch

from vitreous.data import ResolutionCurves
from vitreous.errors import InputError
from vitreous.io.access import reading
from vitreous.io.atomic import atomic_path
from vitreous.typing import PathLike

_CURVES = ("unmasked", "masked", "randomised", "corrected")
_COLUMNS = ("shell", "frequency_per_A", "resolution_A", *_CURVES, "randomised_from_per_A")


def write_fsc_csv(path: PathLike, curves: ResolutionCurves) -> None:
    """Write one row per shell; a curve that does not exist leaves its column empty.

    Columns: ``shell``, ``frequency_per_A``, ``resolution_A`` (empty for shell 0), ``unmasked``, ``masked``,
    ``randomised``, ``corrected`` and ``randomised_from_per_A``, the same in every row.
    """
    frequencies = curves.frequency_per_A.tolist()
    columns: dict[str, list[object]] = {
        "shell": list(range(len(frequencies))),
        "frequency_per_A": frequencies,
        "resolution_A": [1 / frequency if frequency > 0 else "" for frequency in frequencies],
        "randomised_from_per_A": [curves.randomised_from_per_A] * len(frequencies),
    }
    for name in _CURVES:
        curve = getattr(curves, name)
        columns[name] = [""] * len(frequencies) if curve is None else curve.tolist()
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(_COLUMNS)
        table.writerows(zip(*(columns[name] for name in _COLUMNS)))


def read_fsc_csv(path: PathLike) -> ResolutionCurves:
    """Read what :func:`write_fsc_csv` wrote; columns in any order, others are left out, curves are float64.

    Raises
    ------
    InputError
        Where the file is missing, has no ``frequency_per_A`` or ``unmasked``, or a cell is no number.
    """
    with reading(path) as file_path, file_path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise InputError("no FSC table", remedy="Check that this is an fsc.csv; write it again if it is", path=path)
    curves = {name: _column(path, rows, name) for name in ("frequency_per_A", *_CURVES, "randomised_from_per_A")}
    frequency, unmasked = curves["frequency_per_A"], curves["unmasked"]
    if frequency is None or unmasked is None:
        raise InputError(
            "the FSC table lacks a column",
            expected="frequency_per_A and unmasked",
            found=", ".join(map(str, rows[0])),
            remedy="Write the table again, or name the columns so",
            path=path,
        )
    randomised_from = curves["randomised_from_per_A"]
    return ResolutionCurves(
        frequency_per_A=frequency,
        unmasked=unmasked,
        masked=curves["masked"],
        randomised=curves["randomised"],
        corrected=curves["corrected"],
        randomised_from_per_A=None if randomised_from is None else float(randomised_from[0]),
    )


def _column(path: PathLike, rows: list[dict[str, str]], name: str) -> torch.Tensor | None:
    cells = [row.get(name) for row in rows]
    if not any(cells):
        return None
    try:
        return torch.tensor([float(cell or "") for cell in cells], dtype=torch.float64)
    except ValueError as error:
        raise InputError(
            f"column {name} of the FSC table holds something that is no number",
            remedy="Repair that cell, or write the table again",
            path=path,
        ) from error
