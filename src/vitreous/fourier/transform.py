"""The one centred Fourier transform.

An image of n pixels has its origin at pixel ``n // 2``, for odd and even n. Its half-plane transform holds
``F(k) = Σ x[r] exp(−2πi k·(r − n//2)/n)`` for ``kx = 0 … n//2`` (last axis) and ``ky`` in FFT order
(``0, 1, …, −1``). Nothing is scaled on the way forward; the inverse divides by the number of pixels, so that
``irfft2_centred(rfft2_centred(x), n)`` is ``x``.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vitreous.typing import Complex, Float


def rfft2_centred(images: Float[Tensor, "*batch y x"]) -> Complex[Tensor, "*batch y half_x"]:
    """Transform real images about the box centre into the half plane ``kx ≥ 0``."""
    return torch.fft.rfft2(torch.fft.ifftshift(images, dim=(-2, -1)))


def irfft2_centred(transforms: Complex[Tensor, "*batch y half_x"], box: int) -> Float[Tensor, "*batch y x"]:
    """Inverse of :func:`rfft2_centred` for images of ``box`` pixels."""
    return torch.fft.fftshift(torch.fft.irfft2(transforms, s=(box, box)), dim=(-2, -1))


def rfft3_centred(maps: Float[Tensor, "*batch z y x"]) -> Complex[Tensor, "*batch z y half_x"]:
    """Transform real maps about the box centre into the half space ``kx ≥ 0``."""
    return torch.fft.rfftn(torch.fft.ifftshift(maps, dim=(-3, -2, -1)), dim=(-3, -2, -1))


def irfft3_centred(transforms: Complex[Tensor, "*batch z y half_x"], box: int) -> Float[Tensor, "*batch z y x"]:
    """Inverse of :func:`rfft3_centred` for maps of ``box`` voxels."""
    real = torch.fft.irfftn(transforms, s=(box, box, box), dim=(-3, -2, -1))
    return torch.fft.fftshift(real, dim=(-3, -2, -1))


def centred_resize(array: Tensor, box: int, dims: Sequence[int]) -> Tensor:
    """Crop or zero-pad the axes ``dims`` to ``box`` entries, keeping the centre ``n // 2`` at the centre."""
    out = array
    for dim in dims:
        n = out.shape[dim]
        start = n // 2 - box // 2
        if box <= n:
            out = out.narrow(dim, start, box)
            continue
        shape = list(out.shape)
        shape[dim] = box
        padded = out.new_zeros(shape)
        padded.narrow(dim, -start, n).copy_(out)
        out = padded
    return out


def fourier_crop(images: Float[Tensor, "n y x"], box: int) -> Float[Tensor, "n box box"]:
    """Resample real images to ``box`` pixels over the same field by cropping or padding their transforms.

    Grey values are preserved (a constant image stays the same constant). The Nyquist row and column of an even
    target box are zero, because their sign is lost.
    """
    n = images.shape[-1]
    if box == n:
        return images
    keep = (min(n, box) - 1) // 2
    full = torch.fft.rfft2(torch.fft.ifftshift(images, dim=(-2, -1)))
    out = full.new_zeros((*images.shape[:-2], box, box // 2 + 1))
    out[..., : keep + 1, : keep + 1] = full[..., : keep + 1, : keep + 1]
    if keep:
        out[..., -keep:, : keep + 1] = full[..., -keep:, : keep + 1]
    return irfft2_centred(out, box) * (box / n) ** 2
