"""CTF values as a plain table: a ``.csv`` file with one line per particle."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from vitreous.data import MetadataTable, Optics
from vitreous.errors import InputError
from vitreous.io.access import reading
from vitreous.io.ctf_checks import check_optics
from vitreous.io.image_names import parse_image_names
from vitreous.io.listing import Listing, NamedColumns, require_unique_ids

_NEEDED = ("voltage_kV", "cs_mm", "amplitude_contrast", "defocus_u_A", "defocus_v_A", "defocus_angle_deg")
_OPTIONAL = ("phase_shift_deg", "bfactor_A2")


def read_ctf_csv(path: Path, listing: Listing) -> Listing:
    """Read a table with a header: ``id`` (``index@stack``) and the columns of :class:`vitreous.data.Optics`.

    ``phase_shift_deg``, ``bfactor_A2`` and ``pixel_size_A`` may be absent. Without ``id`` the table must have one line
    per particle, in the order of the stack.

    Raises
    ------
    InputError
        Where the table is malformed, lacks a column, or holds values that no microscope has.
    """
    with reading(path):
        try:
            frame = pd.read_csv(path, skipinitialspace=True, keep_default_na=False)
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise InputError("not a table of comma-separated values", remedy="Write it again", path=path) from error
    absent = [name for name in _NEEDED if name not in frame]
    if absent or len(frame) == 0:
        raise InputError(
            f"the table lacks {', '.join(absent)}" if absent else "the table has no rows",
            expected=", ".join(("id", *_NEEDED)),
            remedy="Add what is absent; the first line names the columns",
            path=path,
        )
    named = _names(frame, path, listing)
    columns = NamedColumns(path, {str(name): frame[name].to_numpy() for name in frame}, named.ids)
    values = {name: torch.from_numpy(columns.numbers(name)) for name in _NEEDED}
    values |= {name: torch.from_numpy(columns.numbers(name, 0.0)) for name in _OPTIONAL}
    optics = Optics(**values, group=torch.zeros(len(frame), dtype=torch.int64), group_names=("opticsGroup1",))
    check_optics(optics, named.ids, path)
    pixel_size_A = float(columns.numbers("pixel_size_A")[0]) if "pixel_size_A" in columns else None
    return replace(named, optics=optics, pixel_size_A=pixel_size_A)


def _names(frame: pd.DataFrame, path: Path, listing: Listing) -> Listing:
    empty = MetadataTable("relion", {}, {})
    if "id" in frame:
        texts = np.array([str(name) for name in frame["id"].tolist()], dtype=np.dtypes.StringDType())
        names = parse_image_names(texts, path)
        require_unique_ids(names.ids, names, path)
        return Listing(path, names, names.ids, empty)
    if len(frame) != len(listing.ids):
        raise InputError(
            "the table has no column id, and another number of rows than there are particles",
            expected=len(listing.ids),
            found=len(frame),
            remedy="Add a column id with index@stack",
            path=path,
        )
    return Listing(path, listing.names, listing.ids, empty)
