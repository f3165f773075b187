"""A stack of images without a metadata file."""

from pathlib import Path

import numpy as np

from vitreous.data import MetadataTable
from vitreous.errors import InputError
from vitreous.io.listing import ImageNames, Listing
from vitreous.io.mrc import read_header


def read_bare_stack(path: Path) -> Listing:
    """List every image of an MRC stack.

    Its pixel size is that of the header, or None where the header holds none or 1, which programs write that do not
    know it.

    Raises
    ------
    InputError
        Where the file is not a usable stack, or is a map.
    """
    header = read_header(path)
    if path.suffix.lower() == ".mrc" and header.n_images == header.ny == header.nx:
        raise InputError(
            "this looks like a map, not like particle images",
            found=f"{header.nx} x {header.ny} x {header.n_images}",
            remedy="Give a particle stack, or rename it to .mrcs if it is one",
            path=path,
        )
    n = header.n_images
    names = ImageNames((path.name,), np.zeros(n, dtype=np.int64), np.arange(n))
    size = header.pixel_size_A
    known = np.isfinite(size) and size > 0 and size != 1
    return Listing(path, names, names.ids, MetadataTable("relion", {}, {}), pixel_size_A=size if known else None)
