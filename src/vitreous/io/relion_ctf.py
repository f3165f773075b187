"""CTF values of a RELION table, and refusal of the optics that this program does not model."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vitreous.data import Optics
from vitreous.errors import InputError
from vitreous.io.ctf_checks import check_optics
from vitreous.io.image_names import factorize
from vitreous.io.listing import NamedColumns
from vitreous.io.optics_groups import OpticsGroups

_NEEDED = {
    "voltage_kV": "rlnVoltage",
    "cs_mm": "rlnSphericalAberration",
    "amplitude_contrast": "rlnAmplitudeContrast",
    "defocus_u_A": "rlnDefocusU",
    "defocus_v_A": "rlnDefocusV",
    "defocus_angle_deg": "rlnDefocusAngle",
}
_OPTIONAL = {"phase_shift_deg": "rlnPhaseShift", "bfactor_A2": "rlnCtfBfactor"}
_MAGNIFICATION = {"rlnMagMat00": 1.0, "rlnMagMat01": 0.0, "rlnMagMat10": 0.0, "rlnMagMat11": 1.0}
_NEGLIGIBLE = 1e-5


def relion_optics(particles: NamedColumns, groups: OpticsGroups) -> Optics | None:
    """Return the CTF of each particle, or None where the file has no defocus.

    Raises
    ------
    InputError
        Where a value is missing, not a number or not credible.
    """
    if "rlnDefocusU" not in particles:
        return None
    columns = with_group_values(particles, groups, [*_NEEDED.values(), *_OPTIONAL.values()])
    for label in _NEEDED.values():
        if label not in columns:
            raise InputError(
                f"the table has defocus values but no column {label}",
                remedy=f"Add {label} to the particles or to data_optics",
                path=particles.path,
            )
    values = {name: torch.from_numpy(columns.numbers(label)) for name, label in _NEEDED.items()}
    values |= {name: torch.from_numpy(columns.numbers(label, 0.0)) for name, label in _OPTIONAL.items()}
    optics = Optics(**values, group=torch.from_numpy(groups.group), group_names=groups.names)
    check_optics(optics, columns.ids, columns.path)
    return optics


def refuse_unmodelled_optics(particles: NamedColumns, groups: OpticsGroups) -> None:
    """Refuse beam tilt, higher aberrations and anisotropic magnification: ignoring them would spoil a map silently.

    Raises
    ------
    InputError
        Where one of them differs from "none" in a group or particle in use.
    """
    zernikes = ("rlnOddZernike", "rlnEvenZernike")
    tilts = ("rlnBeamTiltX", "rlnBeamTiltY")
    columns = with_group_values(particles, groups, [*tilts, *zernikes, *_MAGNIFICATION])
    for label in tilts:
        _require_none(columns, label, np.abs(columns.numbers(label, 0.0)) <= _NEGLIGIBLE, "beam tilt")
    for label in zernikes:
        if label in columns:
            texts, codes = factorize(columns.columns[label])
            none = np.array([_is_zero_list(text) for text in texts])
            _require_none(columns, label, none[codes], "higher-order aberration")
    for label, identity in _MAGNIFICATION.items():
        distance = np.abs(columns.numbers(label, identity) - identity)
        _require_none(columns, label, distance <= _NEGLIGIBLE, "anisotropic magnification")


def _require_none(columns: NamedColumns, label: str, none: NDArray[np.bool_], what: str) -> None:
    if label in columns:
        neutral = f"{_MAGNIFICATION.get(label, 0.0):g}" if "Zernike" not in label else "[0]"
        columns.require(
            none,
            f"{what} ({label}) is not modelled",
            label,
            f"If the resolution wanted is worse than about 4 Å its effect is small: set {label} to {neutral}; "
            "else correct the images for it first",
        )


def with_group_values(particles: NamedColumns, groups: OpticsGroups, labels: list[str]) -> NamedColumns:
    """Bring group columns to the particles; a particle's own value comes first, as in RELION."""
    columns: dict[str, NDArray[Any]] = {}
    for label in labels:
        if label in particles:
            columns[label] = particles.columns[label]
        elif label in groups.table:
            columns[label] = groups.table[label][groups.group]
    return NamedColumns(particles.path, columns, particles.ids)


def _is_zero_list(text: str) -> bool:
    fields = text.strip("[]").replace(",", " ").split()
    try:
        return all(abs(float(field)) <= _NEGLIGIBLE for field in fields)
    except ValueError:
        return text in {"None", "none"}
