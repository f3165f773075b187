"""Particle coefficients on a disc: all that projection matching needs of an image.

With white noise of variance 1 per unitary coefficient,
``−ln p(Y | P) = Σ |Y − C·P|² = const − 2·Re⟨Y·C, P⟩ + C²·|P|²``: ``Y·C`` and ``C²`` are sufficient, and
CTF-premultiplied images carry ``Y·C`` already.
"""

from copy import copy
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from vitreous.compute.device import compute_device
from vitreous.compute.processes import current_share
from vitreous.compute.progress import Progress
from vitreous.data import Particles
from vitreous.fourier.frequencies import Disc, disc
from vitreous.fourier.transform import rfft2_centred
from vitreous.reconstruct.backprojection import batches, disc_ctf
from vitreous.reconstruct.group_balance import GroupBalance
from vitreous.typing import Complex, Float, Int

DEFAULT_CACHE_BYTES = 4_000_000_000
GPU_SHARE = 0.5
"""Share of a GPU's free memory that coefficients may take."""


@dataclass(frozen=True)
class Coefficients:
    """``Y·C`` and ``C²`` of some particles, each ``[n, k]``."""

    yc: Complex[Tensor, "n k"]
    c2: Float[Tensor, "n k"]

    def __len__(self) -> int:
        return len(self.c2)

    def weighted(self, inverse_noise: Float[Tensor, " k"]) -> "Coefficients":
        """Both divided by the noise power of each coefficient."""
        return Coefficients(self.yc * inverse_noise, self.c2 * inverse_noise)

    def to(self, device: torch.device) -> "Coefficients":
        """Both in the memory of a device."""
        return Coefficients(self.yc.to(device), self.c2.to(device))

    def scaled(
        self, gains: tuple[Float[Tensor, "g k"], Float[Tensor, "g k"]], groups: Int[Tensor, " n"]
    ) -> "Coefficients":
        """``Y·C`` and ``C²`` multiplied by the factors of each particle's group."""
        return Coefficients(self.yc * gains[0][groups], self.c2 * gains[1][groups])


@dataclass(frozen=True)
class Spectra:
    """Radial averages over a particle set, one value per shell.

    Attributes
    ----------
    total
        Power of the images, ``Σ|Y·C|² / ΣC²``: noise plus modulated signal.
    signal
        Power of the particle before the CTF, ``Σ(|Y·C|² − C²) / ΣC⁴``; at least a small positive number.
    """

    total: Float[Tensor, " s"]
    signal: Float[Tensor, " s"]


class CoefficientStore:
    """Coefficients of a particle set inside a radius, kept in memory where they fit a budget, else read again.

    Parameters
    ----------
    particles
        Images with background σ = 1.
    radius
        Largest radius, in pixels of frequency.
    cache_bytes
        Budget of the caches of all processes on this machine, each of which holds all particles.

    Attributes
    ----------
    balance
        How optics groups differ, where that is taken into account (:meth:`balanced`).
    """

    def __init__(self, particles: Particles, radius: float, cache_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.particles = particles
        self.disc: Disc = disc(particles.box, radius)
        self._cache: Coefficients | None = None
        self._on_gpu: Coefficients | None = None
        self._rows: Int[Tensor, " n"] | None = None
        self.balance: GroupBalance | None = None
        needed = 12 * len(self.disc.kx) * len(particles) * current_share().on_machine
        self.fits_in_memory = needed <= cache_bytes

    def __len__(self) -> int:
        return len(self.particles)

    def load(self, progress: Progress) -> "CoefficientStore":
        """Fill the cache, if the coefficients fit; every process reads its share of the images."""
        if not self.fits_in_memory or self._cache is not None:
            return self
        shape = (len(self), len(self.disc.kx))
        share = current_share()
        yc, c2 = torch.zeros(shape, dtype=torch.complex64), torch.zeros(shape)
        mine = share.mine(list(batches(len(self), self.particles.box)))
        with progress.stage("Reading particles", total=sum(map(len, mine))):
            for indices in mine:
                part = self._compute(indices)
                yc[indices[0] : indices[-1] + 1], c2[indices[0] : indices[-1] + 1] = part.yc, part.c2
                progress.advance(len(indices))
        share.sum_(yc, c2)
        self._cache = Coefficients(yc, c2)
        self._on_gpu = _copied_to_gpu(self._cache, compute_device())
        return self

    def subset(self, rows: Int[Tensor, " n"], radius: float, progress: Progress) -> "CoefficientStore":
        """Store of some particles, with at least a radius: a view of this one's cache where there is one."""
        if self._cache is None:
            return CoefficientStore(self.particles.select(rows), radius).load(progress).balanced(self.balance)
        view = copy(self)
        view.particles = self.particles.select(rows)
        view._rows = rows if self._rows is None else self._rows[rows]
        return view

    def balanced(self, balance: GroupBalance | None) -> "CoefficientStore":
        """The same particles, of which each optics group counts by its own noise and amplitude.

        ``Y·C`` and ``C²`` become those of images whose noise is alike, with CTFs of which the amplitude is a part, so
        that all that is made of them holds as it stands.
        """
        view = copy(self)
        view.balance = balance
        return view

    def batch(self, indices: Int[Tensor, " b"], count: int | None = None) -> Coefficients:
        """First ``count`` coefficients of some particles, in the CPU's memory."""
        return self._balanced(self._as_read(indices, count), indices)

    def device_batch(self, indices: Int[Tensor, " b"], count: int | None = None) -> Coefficients:
        """Do as :meth:`batch`, in the memory of the computing device: from the copy there, if there is one."""
        if self._on_gpu is None:
            return self.batch(indices, count).to(compute_device())
        rows = (indices if self._rows is None else self._rows[indices]).to(self._on_gpu.c2.device)
        columns = (values[:, :count].index_select(0, rows) for values in (self._on_gpu.yc, self._on_gpu.c2))
        return self._balanced(Coefficients(*columns), indices)

    def _balanced(self, part: Coefficients, indices: Int[Tensor, " b"]) -> Coefficients:
        if self.balance is None:
            return part
        yc_gain, c2_gain = self.balance.gains(self.disc.shell[: part.c2.shape[1]])
        device = part.c2.device
        groups = self.particles.optics.group[indices].to(device)
        return part.scaled((yc_gain.to(device), c2_gain.to(device)), groups)

    def _as_read(self, indices: Int[Tensor, " b"], count: int | None) -> Coefficients:
        if self._cache is None:
            computed = self._compute(indices)
            return Coefficients(computed.yc[:, :count], computed.c2[:, :count])
        rows = _as_slice(indices if self._rows is None else self._rows[indices])
        return Coefficients(self._cache.yc[rows, :count], self._cache.c2[rows, :count])

    def _compute(self, indices: Int[Tensor, " b"]) -> Coefficients:
        particles = self.particles
        y = self.disc.gather(rfft2_centred(particles.images(indices))) / particles.box
        ctf = disc_ctf(particles.optics.select(indices), self.disc, particles.pixel_size_A)
        if particles.ctf_premultiplied:
            # Normalising made the mean of C²σ² one; this restores σ = 1.
            return Coefficients(y * sqrt(float(ctf.square().mean())), ctf * ctf)
        return Coefficients(y * ctf, ctf * ctf)

    def spectra(self, sample: Int[Tensor, " b"]) -> Spectra:
        """Radial spectra over a sample of particles."""
        n_shells = int(self.disc.shell[-1]) + 1
        sums = torch.zeros(3, n_shells, dtype=torch.float64)
        for chunk in torch.split(sample, 512):
            part = self.batch(chunk)
            rows = torch.stack([part.yc.abs().square().sum(0), part.c2.sum(0), part.c2.square().sum(0)]).double()
            sums.index_add_(1, self.disc.shell, rows)
        total = sums[0] / sums[1].clamp_min(1e-12)
        signal = ((sums[0] - sums[1]) / sums[2].clamp_min(1e-12)).clamp_min(1e-3)
        total[0], signal[0] = total[1], 2 * signal[1]
        return Spectra(total.float(), signal.float())


def _copied_to_gpu(kept: Coefficients, device: torch.device) -> Coefficients | None:
    """Copy in the memory of a GPU, where there is one and it takes no more than half of what is free."""
    if device.type == "cpu":
        return None
    free = torch.cuda.mem_get_info(device)[0] / current_share().on_machine
    return kept.to(device) if kept.yc.nbytes + kept.c2.nbytes <= GPU_SHARE * free else None


def _as_slice(indices: Int[Tensor, " b"]) -> slice | Tensor:
    """Indices as a slice where they are consecutive, so that the cache is viewed and not copied."""
    first, last = int(indices[0]), int(indices[-1])
    consecutive = last - first + 1 == len(indices) and bool((indices.diff() == 1).all())
    return slice(first, last + 1) if consecutive else indices
