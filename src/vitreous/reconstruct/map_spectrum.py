"""The transform of a map, read at any frequency."""

from functools import lru_cache

import torch
from torch import Tensor

from vitreous.fourier.transform import centred_resize
from vitreous.typing import Float, Map


@lru_cache(maxsize=8)
def half_ball(radius: int) -> tuple[Tensor, Tensor]:
    """Integer frequencies ``(x, y, z)`` [k, 3] with x ≥ 0 and 0 < |k| < radius + ½, and their shells."""
    side = torch.arange(-radius, radius + 1)
    k = torch.cartesian_prod(torch.arange(radius + 1), side, side).float()
    shell = torch.floor(k.norm(dim=-1) + 0.5).long()
    inside = (shell > 0) & (shell <= radius)
    return k[inside], shell[inside]


def crop_map(values: Map, box: int) -> Float[Tensor, "box box box"]:
    """Bring a map to at most ``box`` voxels over the same field, float32, by cropping its transform.

    Voxel values change by the ratio of the volumes; a map that is small enough keeps its voxels. Give an odd box: an
    even one would keep the negative Nyquist frequencies without the positive.
    """
    values = values.detach().cpu().float()
    if values.shape[-1] <= box:
        return values
    full = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(values)))
    cropped = centred_resize(full, box, (0, 1, 2))
    return torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(cropped)).real).contiguous()


class MapSpectrum:
    """The oversampled transform of a map, read at any frequency by trilinear interpolation."""

    def __init__(self, values: Map) -> None:
        self.box = values.shape[-1]
        self.padded = 2 * self.box
        wide = centred_resize(values, self.padded, (0, 1, 2))
        full = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(wide)))
        self.channels = torch.view_as_real(full).permute(3, 0, 1, 2)[None].contiguous()

    def at(self, frequencies: Float[Tensor, "n k 3"]) -> Tensor:
        """Complex values ``[n, k]`` at frequencies ``(x, y, z)`` in units of 1 / box."""
        index = 2 * frequencies + self.padded // 2
        grid = (2 * index / (self.padded - 1) - 1)[None, :, :, None, :]
        both = torch.nn.functional.grid_sample(self.channels, grid, padding_mode="border", align_corners=True)
        return torch.complex(both[0, 0, :, :, 0], both[0, 1, :, :, 0])
