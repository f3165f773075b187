"""Learned maps: symmetry, size, slices that agree with the map, and a fit to a transform in closed form."""

import math

import pytest
import torch

from vitreous.geometry.rotations import random_rotations
from vitreous.methods.cryoai.config import CryoAIConfig
from vitreous.methods.cryoai.volume import FourierNet, ImplicitVolume, LearnedVolume, VoxelVolume, make_volume
from vitreous.nn.siren import Siren
from vitreous.physics.slices import FourierVolume, gridding_window

BOX = 16
KINDS = ("fouriernet", "siren", "mlp", "voxels")


def volume_of(kind: str, box: int = BOX) -> LearnedVolume:
    torch.manual_seed(0)
    made = make_volume(box, CryoAIConfig(volume=kind, width=32))
    if isinstance(made, VoxelVolume):
        made.voxels.data = torch.randn_like(made.voxels)
    return made


def test_the_weights_of_the_fouriernet_are_the_papers_number() -> None:
    parameters = dict(FourierNet(256).named_parameters())
    assert sum(value.numel() for name, value in parameters.items() if name.endswith("weight")) == 330_240


@pytest.mark.parametrize("kind", ["siren", "mlp"])
def test_other_networks_have_about_as_many_parameters(kind: str) -> None:
    sizes = [
        sum(value.numel() for value in make_volume(64, CryoAIConfig(volume=name)).parameters())
        for name in (kind, "fouriernet")
    ]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_friedel_mates_are_complex_conjugates(kind: str, generator) -> None:
    volume, rotations = volume_of(kind), random_rotations(3, generator)
    kxy = 4 * torch.randn(20, 2, generator=generator).clamp(-1.2, 1.2)
    kxy[0] = 0
    torch.testing.assert_close(volume(rotations, -kxy), volume(rotations, kxy).conj(), rtol=1e-4, atol=1e-5)
    assert float(volume(rotations, kxy)[:, 0].imag.detach().abs().max()) == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_slices_are_those_of_the_map(kind: str) -> None:
    """At a quarter turn about y the slice's points are points of the map's grid."""
    volume = volume_of(kind)
    rotations = torch.stack([torch.eye(3), torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])])
    kxy = torch.tensor([[1.0, 2], [3, -1], [0, 5], [2, 0], [0, 0]])
    # without the interpolation's window, which the slices at grid points do not know
    values = volume.values()
    if isinstance(volume, VoxelVolume):
        values = values / gridding_window(BOX, 1)
    transform = torch.fft.fftn(torch.fft.ifftshift(values))
    for number, rotation in enumerate(rotations):
        for column, k in enumerate(kxy):
            x, y, z = (rotation.T @ torch.tensor([*k, 0.0])).round().long().tolist()
            torch.testing.assert_close(volume(rotations, kxy)[number, column], transform[z, y, x], rtol=1e-3, atol=1e-4)


def test_slices_between_voxels_are_those_of_the_map_with_the_interpolations_window(generator) -> None:
    """A blob in the middle is known beyond its own grid: its slices are smooth."""
    axis = torch.arange(BOX) - BOX // 2
    blob = torch.exp(-(axis[:, None, None] ** 2 + axis[:, None] ** 2 + (axis - 1.0) ** 2) / 4.5)
    target = FourierVolume.from_map(blob, 6)
    volume = VoxelVolume(BOX)
    plain = FourierVolume.from_map(blob, 1).grid
    volume.voxels.data = torch.view_as_real(plain).clone()
    rotations = random_rotations(4, generator)
    kx, ky = torch.tensor([0.0, 1, 3, 2]), torch.tensor([1.0, 2, -2, 0])
    found, expected = volume(rotations, torch.stack([kx, ky], -1)), target.sample(rotations, kx, ky)
    assert float((found - expected).detach().abs().max() / expected.abs().max()) < 0.05
    torch.testing.assert_close(volume.values(), blob, atol=0.02, rtol=0)


def test_voxels_are_in_units_of_the_amplitude_of_their_shell(generator) -> None:
    amplitude = torch.linspace(3.0, 0.5, BOX // 2 + 1)
    plain, scaled = VoxelVolume(BOX), VoxelVolume(BOX, amplitude)
    scaled.voxels.data = plain.voxels.data = torch.randn(plain.voxels.shape, generator=generator)
    ratio = (scaled.grid() / plain.grid()).detach().real
    centre = BOX // 2
    assert float(ratio[centre, centre, 0]) == pytest.approx(3.0)
    assert float(ratio[centre, centre + 2, 0]) == pytest.approx(float(amplitude[2]))
    assert float(ratio[centre + 3, centre, 4]) == pytest.approx(float(amplitude[5]))
    assert float(ratio[0, 0, -1]) == pytest.approx(0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_map_and_the_rotations(kind: str, generator) -> None:
    volume, rotations = volume_of(kind), random_rotations(2, generator).requires_grad_()
    volume(rotations, torch.tensor([[1.0, 2.0], [3.0, -1.0]])).abs().sum().backward()
    assert all(float(value.grad.abs().sum()) > 0 for value in volume.parameters() if value.requires_grad)
    assert float(rotations.grad.abs().sum()) > 0


CENTRES_PX = torch.tensor([[0.0, 0, 0], [4, -2, 3], [-3, -4, 1], [1, 5, -4]])
WIDTHS_PX = torch.tensor([2.0, 1.2, 1.6, 0.9])


def gaussian_transform(points: torch.Tensor, box: int) -> torch.Tensor:
    """Transform of a sum of Gaussians of integral 1 at points in Fourier pixels."""
    phases = torch.polar(torch.ones(()), -2 * math.pi / box * (points @ CENTRES_PX.T))
    spread = torch.exp(-2 * (math.pi / box * WIDTHS_PX) ** 2 * points.square().sum(-1, keepdim=True))
    return (phases * spread).sum(-1)


def fitted_error(network: torch.nn.Module, box: int, steps: int) -> float:
    """Relative error of the transform inside the Nyquist sphere after so many steps."""
    torch.manual_seed(1)
    volume = ImplicitVolume(box, network)
    optimizer = torch.optim.Adam(volume.parameters(), lr=1e-3)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * 0.1 ** (step / steps)
        points = torch.randn(1500, 3)
        points *= box / 2 * torch.rand(1500, 1) ** (1 / 2) / points.norm(dim=1, keepdim=True)
        loss = (volume.at(points) - 30 * gaussian_transform(points, box)).abs().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    points = torch.randn(4000, 3)
    points *= box / 2 * torch.rand(4000, 1) ** (1 / 2) / points.norm(dim=1, keepdim=True)
    with torch.no_grad():
        found, truth = volume.at(points) / 30, gaussian_transform(points, box)
    return float((found - truth).abs().square().sum().sqrt() / truth.abs().square().sum().sqrt())


def test_a_fouriernet_learns_a_sum_of_gaussians_better_than_a_siren_of_its_size() -> None:
    torch.manual_seed(0)
    networks = FourierNet(64, 20.0), Siren(3, 2, width=64, hidden=5, omega=20.0)
    fouriernet, siren = (fitted_error(network, 32, 250) for network in networks)
    assert fouriernet < 0.1
    assert fouriernet < siren
