"""Maps in boxes of different size over the same field."""

import torch
from torch import Tensor

from vitreous.fourier.transform import centred_resize
from vitreous.typing import Float, Map


def resize_map(values: Map, box: int) -> Float[Tensor, "box box box"]:
    """Bring a map to another box over the same field; slices keep their values, frequencies beyond are zero."""
    full = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(values)))
    resized = centred_resize(full, box, (0, 1, 2))
    return torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(resized))).real
