"""The only input of every method: images that are read when they are needed, and what is known of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from numpy.typing import NDArray
from torch import Tensor

from vitreous.data.optics import Optics
from vitreous.data.poses import Poses
from vitreous.typing import Float, Images, Int

Columns = Mapping[str, NDArray[Any]]
"""Columns of a metadata table by name, in the order of the file."""


@runtime_checkable
class ImageSource(Protocol):
    """Where images come from; they are read in batches, by index."""

    @property
    def box(self) -> int:
        """Side of the images in pixels."""
        ...

    @property
    def pixel_size_A(self) -> float:
        """Side of a pixel in Å."""
        ...

    def __len__(self) -> int: ...

    def read(self, indices: Int[Tensor, " b"]) -> Images:
        """Return images ``[b, box, box]``, float32, bright on dark, background mean 0 and σ 1."""
        ...


@dataclass(frozen=True)
class ArraySource:
    """Images held in memory."""

    array: Images
    pixel_size_A: float

    @property
    def box(self) -> int:
        """Side of the images in pixels."""
        return int(self.array.shape[-1])

    def __len__(self) -> int:
        return len(self.array)

    def read(self, indices: Int[Tensor, " b"]) -> Images:
        """Return a copy of some images."""
        return self.array[indices]


@dataclass(frozen=True)
class SubsetSource:
    """Some images of another source."""

    parent: ImageSource
    indices: Int[Tensor, " n"]

    @property
    def box(self) -> int:
        """Side of the images in pixels."""
        return self.parent.box

    @property
    def pixel_size_A(self) -> float:
        """Side of a pixel in Å."""
        return self.parent.pixel_size_A

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, indices: Int[Tensor, " b"]) -> Images:
        """Return some images of the subset."""
        return self.parent.read(self.indices[indices])


@dataclass(frozen=True)
class MetadataTable:
    """The table that the particles came with, kept so that no column is lost when results are written.

    Attributes
    ----------
    dialect
        ``"relion"`` or ``"cryosparc"``.
    particles
        One array per column, in the file's order and spelling (without the leading underscore).
    optics
        RELION's optics table, or empty.
    """

    dialect: str
    particles: Columns
    optics: Columns

    def select(self, indices: Tensor) -> "MetadataTable":
        """Return the rows of some particles."""
        rows = indices.numpy()
        return replace(self, particles={name: column[rows] for name, column in self.particles.items()})


@dataclass(frozen=True)
class Particles:
    """Particle images with their optics, ids and, where known, poses and half-sets.

    Attributes
    ----------
    source
        The images.
    optics
        One CTF per particle.
    ids
        Stable names, ``index@stack`` with a 1-based index; unique.
    poses
        None where no poses are known.
    half_sets
        1 or 2 per particle, or None.
    ctf_premultiplied
        True where the images were multiplied by their CTF already.
    table
        The metadata table as read, or None.
    notes
        What reading had to decide (contrast inverted, images resampled …), in plain words.
    """

    source: ImageSource
    optics: Optics
    ids: NDArray[Any]
    poses: Poses | None = None
    half_sets: Int[Tensor, " n"] | None = None
    ctf_premultiplied: bool = False
    table: MetadataTable | None = None
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse parts that describe different numbers of particles."""
        lengths = {"images": len(self.source), "optics": len(self.optics), "ids": len(self.ids)}
        if self.poses is not None:
            lengths["poses"] = len(self.poses)
        if self.half_sets is not None:
            lengths["half_sets"] = len(self.half_sets)
        if len(set(lengths.values())) != 1:
            message = f"the parts of a particle set differ in length: {lengths}"
            raise ValueError(message)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def box(self) -> int:
        """Side of the images in pixels."""
        return self.source.box

    @property
    def pixel_size_A(self) -> float:
        """Side of a pixel in Å."""
        return self.source.pixel_size_A

    def images(self, indices: Int[Tensor, " b"] | None = None) -> Float[Tensor, "b y x"]:
        """Read images (all of them without ``indices``), float32, bright on dark, background mean 0 and σ 1."""
        return self.source.read(torch.arange(len(self)) if indices is None else indices)

    def select(self, indices: Int[Tensor, " m"]) -> "Particles":
        """Return a subset; images stay unread."""
        return replace(
            self,
            source=SubsetSource(self.source, indices),
            optics=self.optics.select(indices),
            ids=self.ids[indices.numpy()],
            poses=None if self.poses is None else self.poses.select(indices),
            half_sets=None if self.half_sets is None else self.half_sets[indices],
            table=None if self.table is None else self.table.select(indices),
        )

    def with_poses(self, poses: Poses | None) -> "Particles":
        """Return the same particles with other poses."""
        return replace(self, poses=poses)
