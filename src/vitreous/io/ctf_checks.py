"""Are CTF values credible? One set of limits for every format."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitreous.data import Optics
from vitreous.io.listing import NamedColumns

_LIMITS = {
    "voltage_kV": (10.0, 1500.0, "Give the acceleration voltage in kV"),
    "cs_mm": (-20.0, 20.0, "Give the spherical aberration in mm"),
    "amplitude_contrast": (0.0, 1.0, "Give amplitude contrast as a share between 0 and 1"),
    "defocus_u_A": (-1e6, 1e6, "Give defocus in Å, or leave this particle out"),
    "defocus_v_A": (-1e6, 1e6, "Give defocus in Å, or leave this particle out"),
    "defocus_angle_deg": (-1e4, 1e4, "Give the azimuth of defocus U in degrees"),
    "phase_shift_deg": (-360.0, 360.0, "Give the phase shift in degrees, or leave this particle out"),
    "bfactor_A2": (-1e4, 1e4, "Give the B-factor in Å², or leave this particle out"),
}
_SMALLEST_TYPICAL_DEFOCUS_A = 20.0


def check_optics(optics: Optics, ids: NDArray[Any], path: Path) -> None:
    """Refuse values that no microscope has; they are misplaced columns or wrong units.

    Raises
    ------
    InputError
        Naming the file and the first such particle.
    """
    values = {name: getattr(optics, name).numpy() for name in _LIMITS}
    columns = NamedColumns(path, values, ids)
    for name, (low, high, remedy) in _LIMITS.items():
        good = (values[name] >= low) & (values[name] <= high)
        columns.require(good, f"{name} is not between {low:g} and {high:g}", name, remedy)
    defocus = np.abs(values["defocus_u_A"])
    micrometres = (defocus > 0) & (np.median(defocus) < _SMALLEST_TYPICAL_DEFOCUS_A)
    columns.require(
        ~micrometres, "defocus_u_A is so small that it may be in µm or nm", "defocus_u_A", "Give defocus in Å"
    )
