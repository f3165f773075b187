"""Pose refinement: the native kernel against its plain twin, and both against known poses."""

import pytest
import torch

from tests.reconstruct.scenes import PIXEL_SIZE_A, make_scene
from vitreous.geometry.rotations import rotation_angle_deg, rotation_from_vector
from vitreous.physics.shifts import disc_phases
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct import gauss_newton_plain
from vitreous.reconstruct.coefficients import Coefficients, CoefficientStore
from vitreous.reconstruct.gauss_newton import pose_costs, refine_poses
from vitreous.reconstruct.gauss_newton_plain import refined_plain
from vitreous.reconstruct.target import Target


def make_target(
    n: int, box: int, radius: float, snr: float | None
) -> tuple[Target, Coefficients, torch.Tensor, torch.Tensor]:
    scene = make_scene(n, box, snr=snr)
    store = CoefficientStore(scene.particles, radius)
    volume = FourierVolume.from_map(scene.truth / box)
    noise = torch.linspace(0.5, 1.5, len(store.disc.kx))
    target = Target(volume, store.disc, noise)
    return target, store.batch(torch.arange(n)), scene.poses.rotations, scene.poses.shifts_A / PIXEL_SIZE_A


def disturbed(rotations: torch.Tensor, shifts_px: torch.Tensor, angle_rad: float, shift_px: float):
    generator = torch.Generator().manual_seed(7)
    turn = rotation_from_vector(angle_rad * torch.randn(len(rotations), 3, generator=generator))
    return turn @ rotations, shifts_px + shift_px * torch.randn(shifts_px.shape, generator=generator)


@pytest.mark.parametrize("box", [24, 25])
@pytest.mark.parametrize("steps", [1, 3])
def test_native_steps_equal_the_plain_twin(box: int, steps: int) -> None:
    target, part, R, t = make_target(5, box, 6.0, 1.0)
    images = torch.tensor([3, 0, 1, 1, 4, 2])
    start = disturbed(R[images], t[images], 0.03, 0.3)
    native = refine_poses(target, part, *start, steps=steps, images=images)
    rotations, shifts_px, costs = refined_plain(target, part, start, images, steps=steps)
    assert float(rotation_angle_deg(native.rotations, rotations).max()) < 0.05
    torch.testing.assert_close(native.shifts_px, shifts_px, atol=5e-3, rtol=0)
    torch.testing.assert_close(native.costs, costs.float(), rtol=1e-4, atol=1e-2)


def test_the_plain_twin_is_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    target, part, R, t = make_target(5, 24, 6.0, 1.0)
    start, images = disturbed(R, t, 0.03, 0.3), torch.arange(5)
    whole = refined_plain(target, part, start, images, steps=2)
    monkeypatch.setattr(gauss_newton_plain, "_VALUES_AT_A_TIME", 2 * target.count)
    for one, other in zip(refined_plain(target, part, start, images, steps=2), whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("box", [24, 25])
def test_the_first_step_follows_derivatives_by_automatic_differentiation(box: int) -> None:
    """The step from the Jacobian of the model ``P·e^{−ik·t}``, found without the formulas of either twin."""
    target, part, R, t = make_target(4, box, 6.0, 1.0)
    R, t = disturbed(R, t, 0.005, 0.05)
    step = by_automatic_differentiation(target, part, R, t)
    found = refine_poses(target, part, R, t, steps=1)
    assert bool((found.costs < pose_costs(target, part, R, t)).all())
    expected = rotation_from_vector(step[:, :3].float()) @ R
    assert float(rotation_angle_deg(found.rotations, expected).max()) < 0.02
    torch.testing.assert_close(found.shifts_px, t + step[:, 3:].float(), atol=2e-3, rtol=0)


def by_automatic_differentiation(target: Target, part: Coefficients, R: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    zero = torch.zeros(len(R), 5, requires_grad=True)
    slices = target.slices(rotation_from_vector(zero[:, :3]) @ R)
    model = torch.view_as_real(slices * disc_phases(zero[:, 3:], target.disc, target.count)).flatten(1)
    rows = [torch.autograd.grad(column.sum(), zero, retain_graph=True)[0] for column in model.unbind(1)]
    jacobian = torch.stack(rows, 1).view(len(R), target.count, 2, 5).double()
    values = model.detach().view(len(R), -1, 2)
    residual = (part.c2[:, : target.count, None] * values - torch.view_as_real(target.centred(part, t))).double()
    weight = (part.c2[:, : target.count] * target.inverse_noise).double()
    matrix = torch.einsum("nk,nkpa,nkpb->nab", weight, jacobian, jacobian)
    gradient = torch.einsum("k,nkpa,nkp->na", target.inverse_noise.double(), jacobian, residual)
    damped = matrix + torch.diag_embed(0.01 * matrix.diagonal(dim1=1, dim2=2) + 1e-6)
    return -torch.linalg.solve(damped, gradient)


@pytest.mark.parametrize("box", [24, 25])
def test_costs_are_those_of_the_poses_returned(box: int) -> None:
    target, part, R, t = make_target(5, box, 9.0, 1.0)
    found = refine_poses(target, part, *disturbed(R, t, 0.05, 0.5), steps=4)
    torch.testing.assert_close(
        found.costs, pose_costs(target, part, found.rotations, found.shifts_px), rtol=1e-4, atol=1e-2
    )
    identity = found.rotations @ found.rotations.transpose(-1, -2)
    torch.testing.assert_close(identity, torch.eye(3).expand(5, 3, 3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("box", [32, 33])
def test_known_poses_are_found_again(box: int) -> None:
    """From a few degrees and half a pixel away, without noise, to a small part of a degree."""
    target, part, R, t = make_target(20, box, 12.0, None)
    found = refine_poses(target, part, *disturbed(R, t, 0.05, 0.5), steps=12)
    assert float(rotation_angle_deg(found.rotations, R).median()) < 0.1
    assert float((found.shifts_px - t).abs().median()) < 0.01


def test_cost_never_rises_and_inputs_are_untouched() -> None:
    target, part, R, t = make_target(10, 24, 9.0, 0.2)
    rotations, shifts = disturbed(R, t, 0.2, 1.5)
    kept = rotations.clone(), shifts.clone()
    costs = [pose_costs(target, part, rotations, shifts)]
    costs += [refine_poses(target, part, rotations, shifts, steps=steps).costs for steps in (1, 2, 4, 8)]
    for later, earlier in zip(costs[1:], costs, strict=False):
        assert bool((later <= earlier + 1e-3 * earlier.abs()).all())
    assert torch.equal(rotations, kept[0])
    assert torch.equal(shifts, kept[1])


def test_costs_are_negative_log_likelihoods_without_their_constant() -> None:
    """``Σ |Y − C·P·e^{−ik·t}|² / σ²`` minus the same for an empty model."""
    target, part, R, t = make_target(6, 24, 9.0, 1.0)
    slices = target.volume.sample(R, target.disc.kx, target.disc.ky)
    # With Y·C = C·Y, |Y − C·P|² − |Y|² = C²|P|² − 2·Re⟨Y·C, P⟩.
    model = slices * disc_phases(t, target.disc)
    expected = (target.inverse_noise * (part.c2 * model.abs().square() - 2 * (part.yc.conj() * model).real)).sum(1)
    torch.testing.assert_close(pose_costs(target, part, R, t), expected, rtol=1e-4, atol=1e-3)


def test_poses_of_the_same_image_share_its_coefficients() -> None:
    target, part, R, t = make_target(4, 24, 8.0, 1.0)
    images = torch.tensor([2, 0, 2, 3, 3])
    start = disturbed(R[images], t[images], 0.03, 0.3)
    repeated = refine_poses(target, Coefficients(part.yc[images], part.c2[images]), *start, steps=3)
    shared = refine_poses(target, part, *start, steps=3, images=images)
    for name in ("rotations", "shifts_px", "costs"):
        assert torch.equal(getattr(shared, name), getattr(repeated, name))
