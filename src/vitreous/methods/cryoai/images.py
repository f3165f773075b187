"""Images as the encoder sees them, and as the map is compared with them; read when they are asked for."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from vitreous.data import Particles
from vitreous.fourier.frequencies import Disc, disc
from vitreous.fourier.transform import fourier_crop, rfft2_centred
from vitreous.methods.cryoai.config import CryoAIConfig
from vitreous.reconstruct.backprojection import disc_ctf
from vitreous.typing import Complex, Float, Images, Int

_WINDOW_END = 0.99
_SAMPLE = 500
_LEAST_TRANSFER = 1e-3
"""Mean squared contrast transfer below which it is not divided by."""


@dataclass(frozen=True)
class Views:
    """Some images.

    Attributes
    ----------
    inputs
        What the encoder sees, ``[b, y, x]``, of unit variance.
    values
        Unitary coefficients of the cropped images over the reader's scale, ``[b, k]``; where they are whitened, of unit
        mean square in every shell.
    ctf
        Contrast transfer, the square of it where the images were multiplied by it already; whitened like the images.
    """

    inputs: Images
    values: Complex[Tensor, "b k"]
    ctf: Float[Tensor, "b k"]


class ImageReader:
    """Reads images in both forms; none is kept, so that memory does not grow with their number.

    Parameters
    ----------
    particles
        The images; poses in them are not used.
    config
        Boxes, window, whether images are whitened.
    """

    def __init__(self, particles: Particles, config: CryoAIConfig) -> None:
        self.particles = particles
        self.box = even_box(config.decoder_box, particles.box)
        self.input_box = even_box(config.encoder_box, particles.box)
        self.disc = disc_of(self.box)
        self.window = circle(particles.box, config.window)
        rows = torch.arange(0, len(self), max(1, len(self) // _SAMPLE))
        sample = self._windowed(rows)
        self.scale, self.input_scale = (
            max(float(fourier_crop(sample, box).std()), 1e-12) for box in (self.box, self.input_box)
        )
        self.weight = torch.ones(len(self.disc.shell))
        if config.whiten:
            power = self._shell_means(self._compared(sample).abs().square().mean(0))
            self.weight = power.clamp_min(1e-6 * float(power.max())).rsqrt()[self.disc.shell]
        self.amplitude = self._amplitude(sample, rows)
        """Root mean square over a sample of the coefficients of every shell, over that of their contrast transfer,
        ``[shells]``. That of the map where there is no noise; with noise it is that of the images where this is the
        stronger."""

    def __len__(self) -> int:
        return len(self.particles)

    @property
    def pixel_size_A(self) -> float:
        """Side of a pixel of the cropped images in Å."""
        return self.particles.pixel_size_A * self.particles.box / self.box

    def views(self, rows: Int[Tensor, " b"]) -> Views:
        """Read some images."""
        images = self._windowed(rows)
        seen = fourier_crop(images, self.input_box) / self.input_scale
        return Views(seen, self._compared(images), self._transfer(rows))

    def _compared(self, images: Images) -> Complex[Tensor, "b k"]:
        coefficients = self.disc.gather(rfft2_centred(fourier_crop(images, self.box))) / self.box
        return coefficients * (self.weight / self.scale)

    def _transfer(self, rows: Int[Tensor, " b"]) -> Float[Tensor, "b k"]:
        ctf = disc_ctf(self.particles.optics.select(rows), self.disc, self.pixel_size_A)
        return (ctf.square() if self.particles.ctf_premultiplied else ctf) * self.weight

    def _amplitude(self, images: Images, rows: Int[Tensor, " b"]) -> Float[Tensor, " shells"]:
        power = self._shell_means(self._compared(images).abs().square().mean(0))
        transfer = self._shell_means(self._transfer(rows).square().mean(0))
        whitening = self._shell_means(self.weight.square())
        unit = (power / transfer.clamp_min(_LEAST_TRANSFER * whitening)).sqrt()
        return unit.clamp_min(1e-3 * unit.max())

    def _shell_means(self, values: Float[Tensor, " k"]) -> Float[Tensor, " shells"]:
        """Mean of every shell's coefficients; 0 where a shell has none."""
        shell, shells = self.disc.shell, self.box // 2 + 1
        total, count = (torch.zeros(shells).index_add_(0, shell, each) for each in (values, torch.ones(len(values))))
        return total / count.clamp_min(1)

    def _windowed(self, rows: Tensor) -> Tensor:
        return self.particles.images(rows) * self.window


def even_box(wanted: int, available: int) -> int:
    """Largest even box that is neither larger than what is wanted nor than what there is."""
    return min(wanted, available) // 2 * 2


def circle(box: int, start: float) -> Float[Tensor, "y x"]:
    """Circular mask: 1 up to ``start·box/2``, falling linearly to 0 at 0.99 of half the box; 1 where start is 1."""
    if start >= 1:
        return torch.ones(box, box)
    axis = (torch.arange(box) - box // 2) / (box / 2)
    return ((_WINDOW_END - torch.hypot(axis[:, None], axis)) / max(_WINDOW_END - start, 1e-3)).clamp(0, 1)


@lru_cache(maxsize=4)
def disc_of(box: int) -> Disc:
    """One of every Friedel pair of coefficients inside the Nyquist circle."""
    return disc(box, box / 2)
