"""CTF fields of cryoSPARC, angles in radians."""

import numpy as np
import torch

from vitreous.data import Optics
from vitreous.errors import InputError
from vitreous.io.ctf_checks import check_optics
from vitreous.io.listing import NamedColumns

_FIELDS = {
    "voltage_kV": "ctf/accel_kv",
    "cs_mm": "ctf/cs_mm",
    "amplitude_contrast": "ctf/amp_contrast",
    "defocus_u_A": "ctf/df1_A",
    "defocus_v_A": "ctf/df2_A",
}
_UNMODELLED = {
    "ctf/tilt_A": "beam tilt",
    "ctf/trefoil_A": "trefoil",
    "ctf/tetra_A": "tetrafoil",
    "ctf/anisomag": "anisotropic magnification",
    "ctf/shift_A": "a shift by the optics",
}


def cryosparc_optics(columns: NamedColumns) -> Optics | None:
    """Return the CTF of each particle, or None where the file has none."""
    if "ctf/df1_A" not in columns:
        return None
    for field in (*_FIELDS.values(), "ctf/df_angle_rad"):
        if field not in columns:
            raise InputError(
                f"the file has CTF values but no field {field}",
                remedy="Export the particles again from cryoSPARC",
                path=columns.path,
            )
    angles = {"defocus_angle_deg": "ctf/df_angle_rad", "phase_shift_deg": "ctf/phase_shift_rad"}
    values = {name: torch.from_numpy(columns.numbers(field)) for name, field in _FIELDS.items()}
    values |= {name: torch.rad2deg(torch.from_numpy(columns.numbers(field, 0.0))) for name, field in angles.items()}
    exposure = columns.numbers("ctf/exp_group_id", 0.0).astype(np.int64)
    numbers, group = np.unique(exposure, return_inverse=True)
    optics = Optics(
        **values,
        bfactor_A2=torch.from_numpy(columns.numbers("ctf/bfactor", 0.0)),
        group=torch.from_numpy(group.astype(np.int64)),
        group_names=tuple(f"opticsGroup{number}" for number in numbers),
    )
    check_optics(optics, columns.ids, columns.path)
    return optics


def refuse_unmodelled_fields(columns: NamedColumns) -> None:
    """Refuse aberrations that are not modelled; ignoring them would spoil a map silently.

    Raises
    ------
    InputError
        Naming the field and the first particle where it is not zero.
    """
    for field, what in _UNMODELLED.items():
        if field in columns:
            values = columns.columns[field].reshape(len(columns), -1)
            columns.require(
                (values == 0).all(axis=1),
                f"{what} ({field}) is not modelled",
                field,
                "If the resolution wanted is worse than about 4 Å its effect is small: reset it in cryoSPARC and "
                "export again",
            )
