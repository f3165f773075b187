"""The decoder is one real map per latent, however it is asked."""

import pytest
import torch

from vitreous.fourier.transform import rfft2_centred
from vitreous.geometry.rotations import random_rotations, rotation_from_euler
from vitreous.methods.cryodrgn.config import CryoDrgnConfig
from vitreous.methods.cryodrgn.decoders import BasisDecoder
from vitreous.methods.cryodrgn.model import Autoencoder
from vitreous.reconstruct.fourier_images import half_disc

BOX, DIMS = 12, 3


@pytest.fixture(params=["mlp", "basis", "basis of a network"])
def model(request) -> Autoencoder:
    torch.manual_seed(0)
    basis = {"decoder": "basis", "basis_maps": 2 if "network" in request.param else 0}
    config = CryoDrgnConfig(decoder_width=32, encoder_width=32, **({} if request.param == "mlp" else basis))
    made = Autoencoder(BOX, DIMS, config, 2.5)
    if request.param != "mlp":
        blob = torch.exp(-((torch.arange(BOX) - BOX // 2) ** 2) / 4.0)
        made.decoder.maps.data = torch.randn(made.decoder.maps.shape) * blob[:, None, None] * blob[:, None] * blob
    return made


@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (90.0, 0.0, 0.0), (0.0, 90.0, 0.0), (90.0, 90.0, 90.0)])
def test_slices_are_transforms_of_projections_of_the_decoded_map(model, angles) -> None:
    R = rotation_from_euler(torch.tensor([angles])).round()
    z = torch.randn(DIMS)
    values = model.volume(z, 1.0).values
    # r_lab = R r: the density at lab point (x, y, z) is that at Rᵀ(x, y, z); quarter turns move voxels to voxels
    axis = torch.arange(BOX) - BOX // 2
    lab = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).flip(-1).float()
    # the map of a transform is periodic, and so is its turned copy
    at = ((lab @ R[0]).round().long() + BOX // 2) % BOX
    turned = values[at[..., 2], at[..., 1], at[..., 0]]
    projection = turned.sum(0)
    decoded = model.decode(R, z[None])[0].detach() * 2.5
    expected = half_disc(BOX).gather(rfft2_centred(projection[None]))[0] / BOX
    if isinstance(model.decoder, BasisDecoder):  # interpolation between the voxels of a grid is right on average
        assert float((decoded - expected).norm() / expected.norm()) < 0.1
        return
    torch.testing.assert_close(decoded[1:], expected[1:], atol=2e-4, rtol=1e-3)
    assert float(decoded[0].real) == pytest.approx(float(expected[0].real), abs=2e-4)  # a real map's origin is real


def test_opposite_points_are_conjugate(model, generator) -> None:
    R, z = random_rotations(4, generator).float(), torch.randn(4, DIMS)
    turned = R * torch.tensor([-1.0, -1.0, 1.0])[:, None]  # half a turn about the beam: k → −k in the image
    torch.testing.assert_close(model.decode(turned, z)[:, 1:], model.decode(R, z).conj()[:, 1:], atol=1e-5, rtol=1e-4)


def test_the_encoder_sees_phase_flipped_images(model, generator) -> None:
    values = torch.randn(3, len(model.kxy), dtype=torch.complex64)
    ctf = torch.randn(3, len(model.kxy), generator=generator)
    R = random_rotations(3, generator).float()
    first, second = model.encode(values, ctf, R), model.encode(values * ctf.sign(), ctf.abs(), R)
    torch.testing.assert_close(first.mean, second.mean)
    assert not torch.allclose(first.mean, model.encode(values, ctf.abs(), R).mean)


def test_bfloat16_decodes_nearly_the_same(model, generator) -> None:
    R, z = random_rotations(8, generator).float(), torch.randn(8, DIMS)
    exact = model.decode(R, z).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model.decode(R, z).detach()
    assert rounded.dtype == torch.complex64
    assert float((rounded - exact).abs().square().mean().sqrt() / exact.abs().square().mean().sqrt()) < 0.02
