"""Projections of a field: in closed form, at every box, in the frame of the poses, and of one real map."""

import math

import pytest
import torch

from vitreous.fourier.transform import rfft2_centred
from vitreous.geometry.rotations import random_rotations, rotation_from_euler
from vitreous.methods.cryoformer import fields
from vitreous.methods.cryoformer.config import CryoFormerConfig
from vitreous.methods.cryoformer.cost import points_per_image
from vitreous.methods.cryoformer.fields import DensityField, Field, ball_of, make_field
from vitreous.reconstruct.fourier_images import half_disc

BOX, DIMS = 16, 3
SMALL = {"queries": 4, "channels": 8, "levels": 3, "log2_entries": 10, "base": 4, "radius": 0.9}
CENTRES = torch.tensor([[0.3, 0.0, 0.1], [-0.2, 0.25, 0.0], [0.0, -0.15, -0.35]])
SIGMA = 0.16
"""Blobs, in half boxes."""

VARIANTS = {
    "transformer": {},
    "mlp": {"decoder": "mlp"},
    "positional": {"encoding": "positional"},
    "fourier": {"domain": "fourier"},
}


def field(**changes: object) -> Field:
    torch.manual_seed(0)
    made = make_field(BOX, DIMS, CryoFormerConfig(**{**SMALL, **changes}))
    for name, value in made.named_parameters():
        if name.endswith("table"):
            value.data.normal_()
    return made


class Blobs(DensityField):
    """Gaussian blobs of height 1 in place of the networks."""

    def density(self, points, z):
        distance2 = (points[..., None, :] - CENTRES).square().sum(-1)
        return torch.exp(-distance2 / (2 * SIGMA**2)).sum(-1).expand(len(z), -1)


def blob_coefficients(rotations: torch.Tensor, box: int, images: int) -> torch.Tensor:
    """Unitary coefficients of images of ``images`` pixels, those inside the circle of ``box`` pixels."""
    disc = half_disc(box)
    k = torch.stack([disc.kx, disc.ky], -1)
    placed = torch.einsum("nij,bj->nbi", rotations, CENTRES)[..., :2]  # R moves the particle into the laboratory
    phases = torch.exp(-1j * math.pi * torch.einsum("kd,nbd->nbk", k, placed)).sum(1)
    integral = (math.sqrt(2 * math.pi) * SIGMA) ** 3 * (images / 2) ** 2  # along z in half boxes, across in pixels
    return phases * integral / images * torch.exp(-2 * (math.pi * SIGMA * disc.radius / 2) ** 2)


@pytest.mark.parametrize("box", [8, 12, 16])
def test_blobs_are_projected_as_they_are_in_closed_form_at_every_box(box: int, generator) -> None:
    R = random_rotations(5, generator).float()
    found = Blobs(BOX, DIMS, CryoFormerConfig(radius=1.0)).coefficients(R, torch.zeros(5, DIMS), box)
    expected = blob_coefficients(R, box, BOX)
    assert (
        float((found - expected).abs().max() / expected.abs().max()) < {8: 0.05, 12: 2e-3, 16: 2e-3}[box]
    )  # blobs of 0.64 px alias


@pytest.mark.parametrize("box", [8, 10, 14])
def test_coefficients_at_a_smaller_box_are_the_first_ones_of_the_full_one(box: int) -> None:
    small, full = half_disc(box), half_disc(BOX)
    count = len(small.kx)
    assert torch.equal(small.kx, full.kx[:count])
    assert torch.equal(small.ky, full.ky[:count])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (90.0, 0.0, 0.0), (0.0, 90.0, 0.0), (90.0, 90.0, 90.0)])
def test_coefficients_are_those_of_projections_of_the_map(variant: str, angles) -> None:
    made = field(**VARIANTS[variant])
    R, z = rotation_from_euler(torch.tensor([angles])).round(), torch.randn(DIMS)
    values = made.map(z)
    axis = torch.arange(BOX) - BOX // 2
    lab = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).flip(-1).float()
    at = ((lab @ R[0]).round().long() + BOX // 2) % BOX
    projection = values[at[..., 2], at[..., 1], at[..., 0]].sum(0)
    expected = half_disc(BOX).gather(rfft2_centred(projection[None]))[0] / BOX
    found = made.coefficients(R, z[None], BOX)[0].detach()
    torch.testing.assert_close(found[1:], expected[1:], atol=2e-4, rtol=1e-3)
    assert float(found[0].real) == pytest.approx(float(expected[0].real), rel=1e-3, abs=2e-4)


def test_a_density_is_nowhere_negative_and_ends_with_its_ball() -> None:
    values = field(radius=0.7).map(torch.randn(DIMS))
    axis = (torch.arange(BOX) - BOX // 2) / (BOX / 2)
    outside = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt() > 0.7
    assert float(values[outside].abs().max()) == 0
    assert float(values[~outside].min()) > 0


def test_what_is_made_twice_to_save_memory_has_the_same_gradient(monkeypatch, generator) -> None:
    R, z = random_rotations(3, generator).float(), torch.randn(3, DIMS)
    gradients = []
    for limit in (1 << 20, 1):
        monkeypatch.setattr(fields, "POINTS_IN_MEMORY", limit)
        made = field()
        loss = torch.view_as_real(made.coefficients(R, z, BOX)).square().sum()
        gradients.append(torch.autograd.grad(loss, list(made.parameters())))
    for first, second in zip(*gradients):
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize("domain", ["real", "fourier"])
def test_the_cost_counts_the_points_that_are_asked(domain: str) -> None:
    config = CryoFormerConfig(domain=domain)
    counts = {"real": len(ball_of(64, config.radius, torch.device("cpu")).points), "fourier": len(half_disc(64).kx)}
    assert points_per_image(64, config) == pytest.approx(counts[domain], rel=0.02)
