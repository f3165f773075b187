"""Images with poses as methods that learn from them see them: centred coefficients inside a circle, with their CTF."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vitreous.compute.progress import Progress
from vitreous.data import Latents, Particles, Poses, Result
from vitreous.errors import InputError
from vitreous.fourier.frequencies import Disc, disc
from vitreous.geometry.rotations import rotation_angle_deg
from vitreous.reconstruct.backprojection import batches, centred_coefficients, disc_ctf
from vitreous.typing import Complex, Float, Images, Int, Rotations

_WINDOW_END = 0.99
_SAMPLE = 1000
_BATCH = 512
_CACHE_BYTES = 2_000_000_000
_LARGE_TURN_DEG = 5.0

Correct = Callable[[Mapping[str, Tensor]], tuple[Tensor, Tensor]]
"""Gives a batch of images (what :class:`Views` holds, and ``rows``) rotations, and further shifts in boxes."""


@dataclass(frozen=True)
class Views:
    """Coefficients ``[b, k]`` of some images moved to the box centre, their CTF and orientations.

    Attributes
    ----------
    values
        Coefficients over the scale of :class:`FourierImages`.
    ctf
        Contrast transfer; the square of it where the images were multiplied by it already.
    rotations
        ``[b, 3, 3]``.
    shifts_px
        Where the particles were before they were moved, ``[b, 2]``.
    """

    values: Complex[Tensor, "b k"]
    ctf: Float[Tensor, "b k"]
    rotations: Rotations
    shifts_px: Float[Tensor, "b 2"]


def soft_window(box: int, start: float) -> Float[Tensor, "y x"]:
    """Window that is 1 up to ``start·box/2`` and falls linearly to 0 at 0.99 of half the box; 1 where start is 1."""
    if start >= 1:
        return torch.ones(box, box)
    axis = (torch.arange(box) - box // 2) / (box / 2)
    radius = torch.hypot(axis[:, None], axis[None, :])
    return ((_WINDOW_END - radius) / max(_WINDOW_END - start, 1e-3)).clamp(0, 1)


def half_disc(box: int) -> Disc:
    """One of every Friedel pair of coefficients inside the Nyquist circle."""
    return disc(box, box / 2)


def mean_squared_residual(predicted: Complex[Tensor, "b k"], observed: Complex[Tensor, "b k"]) -> Float[Tensor, ""]:
    """Mean ``|ΔF|²`` over the half disc, which is the mean square over the whole disc of the Hartley transform."""
    difference = torch.view_as_real(predicted - observed)
    return difference.square().sum(-1).mean()


class FourierImages:
    """The images of a particle set: kept in memory where they fit, read again otherwise.

    Parameters
    ----------
    particles
        Images with poses.
    window
        See :func:`soft_window`.
    scale
        Standard deviation of the pixels before the window, by which all are divided; measured where None.

    Raises
    ------
    InputError
        Where the particles have no poses.
    """

    def __init__(self, particles: Particles, window: float, scale: float | None = None) -> None:
        if particles.poses is None:
            raise InputError(
                "the particles have no poses", remedy="Run `vitreous abinitio` first, or give a STAR file with angles"
            )
        self.particles, self.poses = particles, particles.poses
        self.disc = half_disc(particles.box)
        self.window, self._window_start = soft_window(particles.box, window), window
        self._cache: tuple[Tensor, Tensor] | None = None
        self.scale = self._measured_scale() if scale is None else scale

    def __len__(self) -> int:
        return len(self.particles)

    def load(self, progress: Progress) -> "FourierImages":
        """Fill the cache, where 12 bytes per coefficient fit into 2 GB."""
        shape = (len(self), len(self.disc.kx))
        if 12 * math.prod(shape) > _CACHE_BYTES:
            return self
        values, ctf = torch.empty(shape, dtype=torch.complex64), torch.empty(shape)
        with progress.stage("Reading particles", total=len(self)):
            for rows in batches(len(self), self.particles.box):
                values[rows], ctf[rows] = self._read(rows)
                progress.advance(len(rows))
        self._cache = (values, ctf)
        return self

    def views(self, rows: Int[Tensor, " b"]) -> Views:
        """Return some images."""
        values, ctf = self._read(rows) if self._cache is None else (part[rows] for part in self._cache)
        return Views(values, ctf, self.poses.rotations[rows].float(), self._shifts_px(rows))

    def with_poses(self, poses: Poses) -> "FourierImages":
        """Return the same images, on the same scale and read again, at other poses."""
        return FourierImages(self.particles.with_poses(poses), self._window_start, self.scale)

    def sample(self) -> Images:
        """Return about a thousand images as they are read, evenly spaced in the set."""
        return self.particles.images(torch.arange(0, len(self), max(1, len(self) // _SAMPLE)))

    def _read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        particles = self.particles
        values = centred_coefficients(particles.images(rows) * self.window, self._shifts_px(rows), self.disc)
        ctf = disc_ctf(particles.optics.select(rows), self.disc, particles.pixel_size_A)
        return values / self.scale, ctf.square() if particles.ctf_premultiplied else ctf

    def _shifts_px(self, rows: Tensor) -> Tensor:
        return (self.poses.shifts_A[rows] / self.particles.pixel_size_A).float()

    def _measured_scale(self) -> float:
        return max(float(self.sample().std()), 1e-12)


def embedded(images: FourierImages, encode: Callable[[Views], tuple[Tensor, Tensor]], progress: Progress) -> Latents:
    """Latents of images in batches, from the mean and the log-variance that ``encode`` gives views, on any device."""
    means, deviations = [], []
    with progress.stage("Embedding", total=len(images)), torch.no_grad():
        for rows in torch.arange(len(images)).split(_BATCH):
            mean, log_variance = encode(images.views(rows))
            means.append(mean.cpu())
            deviations.append((log_variance / 2).exp().cpu())
            progress.advance(len(rows))
    return Latents(torch.cat(means), torch.cat(deviations))


def at_corrected_poses(
    images: FourierImages, correct: Correct | None, progress: Progress
) -> tuple[FourierImages, Result]:
    """Move images to corrected poses; without ``correct`` they stay where they are.

    Returns
    -------
    images, found
        The result holds the poses, and by how much the median pose was corrected (``poses_turned_deg``,
        ``poses_moved_A``), with a warning where that is so much that they may be worse than those that were given.
    """
    if correct is None:
        return images, Result()
    poses = corrected_poses(images, correct, progress)
    changes, warnings = _pose_changes(images.poses, poses)
    return images.with_poses(poses), Result(poses=poses, metrics=changes, warnings=warnings)


def corrected_poses(images: FourierImages, correct: Correct, progress: Progress) -> Poses:
    """Poses of images in batches, of which each holds its rotations in the precision of the given poses."""
    poses, particles = images.poses, images.particles
    rotations, shifts_A = torch.empty_like(poses.rotations), poses.shifts_A.clone()
    with progress.stage("Correcting poses", total=len(images)), torch.no_grad():
        for rows in torch.arange(len(images)).split(_BATCH):
            batch = {**vars(images.views(rows)), "rotations": poses.rotations[rows], "rows": rows}
            rotations[rows], shifts = correct(batch)
            shifts_A[rows] += shifts.to(shifts_A) * (particles.box * particles.pixel_size_A)
            progress.advance(len(rows))
    return Poses(rotations, shifts_A)


def _pose_changes(before: Poses, after: Poses) -> tuple[dict[str, float], tuple[str, ...]]:
    turned_deg = float(rotation_angle_deg(before.rotations.double(), after.rotations.double()).median())
    moved_A = float((after.shifts_A - before.shifts_A).norm(dim=-1).median())
    warnings: tuple[str, ...] = ()
    if turned_deg > _LARGE_TURN_DEG:
        warnings = (
            f"Training turned the median pose by {turned_deg:.0f}°. Such poses can be worse than those that were given:"
            " compare the resolution of `vitreous reconstruct` from both, lower the learning rate of the poses, or run"
            " `vitreous refine` first.",
        )
    return {"poses_turned_deg": turned_deg, "poses_moved_A": moved_A}, warnings


def grid_of(box: int, pixel_size_A: float) -> dict[str, Tensor]:
    """Box and pixel size of a model, as tensors to keep with its parameters."""
    return {"box": torch.tensor(box), "pixel_size_A": torch.tensor(pixel_size_A, dtype=torch.float64)}
