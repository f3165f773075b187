"""Do shifts and headers fit the scale that is used?"""

from math import isfinite

import numpy as np

from vitreous.data import Poses
from vitreous.io.listing import Listing, NamedColumns
from vitreous.io.stacks import StackSource

_SAME = 0.01


def require_shifts_in_box(poses: Poses | None, field_of_view_A: float, listing: Listing) -> None:
    """Refuse shifts that lead out of the image: misplaced columns, or pixels taken for Å.

    Raises
    ------
    InputError
        Naming the first such particle.
    """
    if poses is None:
        return
    largest = poses.shifts_A.abs().amax(dim=1).numpy().astype(np.float64)
    columns = NamedColumns(listing.path, {"shift": largest}, listing.ids)
    columns.require(
        largest <= field_of_view_A,
        f"the shift in Å is larger than the box, {field_of_view_A:g} Å",
        "shift",
        "Correct the origin of this particle, or leave it out",
    )


def voxel_size_notes(source: StackSource, pixel_size_A: float) -> list[str]:
    """Say where the headers of stacks hold another pixel size; 1 and 0 are what programs write that do not know it."""
    sizes = [(header.pixel_size_A, header.path) for header in source.headers]
    other = [
        (size, path)
        for size, path in sizes
        if isfinite(size) and size > 0 and size != 1 and abs(size - pixel_size_A) > _SAME * pixel_size_A
    ]
    if not other:
        return []
    size, path = other[0]
    more = f", and {len(other) - 1} more" if len(other) > 1 else ""
    return [f"the header of {path.name}{more} holds a pixel size of {size:g} Å; {pixel_size_A:g} Å is used"]
