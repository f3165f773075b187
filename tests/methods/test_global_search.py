"""Search of images over all orientations against a map."""

import torch

from tests.reconstruct.scenes import PIXEL_SIZE_A, make_scene
from vitreous.compute.progress import SilentProgress
from vitreous.geometry.rotations import rotation_angle_deg, rotation_from_vector
from vitreous.methods.search.global_search import GlobalPoses, GridSearch
from vitreous.reconstruct import posterior_kernels
from vitreous.reconstruct.coefficients import CoefficientStore
from vitreous.reconstruct.expectation import posterior

BOX, N = 32, 120


def searched(
    snr: float, fine_radius: float | None = None, *, most_candidates: int = 60
) -> tuple[GlobalPoses, torch.Tensor, torch.Tensor]:
    """Poses of blobs found against their true map; errors in degrees and pixels."""
    scene = make_scene(N, BOX, snr=snr)
    store = CoefficientStore(scene.particles, 14.0)
    noise = torch.ones(int(store.disc.shell[-1]) + 1)
    options = {"fine_radius": fine_radius, "most_candidates": most_candidates}
    found = GridSearch(store, scene.truth / BOX, noise, 7.0, 0.08, **options).run(SilentProgress())
    shifts = (found.shifts_px - scene.poses.shifts_A / PIXEL_SIZE_A).norm(dim=1)
    return found, rotation_angle_deg(found.rotations, scene.poses.rotations), shifts


def test_poses_are_found_between_those_of_the_grid() -> None:
    _, degrees, pixels = searched(3.0)
    assert float(degrees.median()) < 2
    assert float(pixels.median()) < 0.2


def test_a_fine_radius_sharpens_the_poses() -> None:
    """The grid is searched at 7 Fourier pixels, where it can be; what lies beyond tells the poses apart."""
    coarse, fine = searched(0.5)[1], searched(0.5, 14.0)[1]
    assert float(fine.median()) < 0.9 * float(coarse.median())


def test_many_candidates_find_what_few_miss() -> None:
    """In noise the best pose of a coarse grid is often not the one that lies nearest to the truth."""
    many = searched(0.1, 14.0)[1]
    one = searched(0.1, 14.0, most_candidates=1)[1]
    assert float((many < 10).float().mean()) > float((one < 10).float().mean()) + 0.1


def test_candidates_are_the_best_rotations_within_the_margin() -> None:
    generator = torch.Generator().manual_seed(1)
    images, shifts, rotations, most = 4, 3, 50, 6
    cross = 10 * torch.randn(images, shifts, rotations, generator=generator)
    norms = 5 + torch.rand(images, rotations, generator=generator)
    turn, shift = torch.zeros(2, images, most, dtype=torch.int64)
    counts = torch.zeros(images, dtype=torch.int64)
    summary = torch.empty(3, images)
    nats, share = 4.0, 0.1
    posterior_kernels.candidates_kernel(
        cross.numpy(),
        norms.numpy(),
        (nats, share),
        (turn.numpy(), shift.numpy(), counts.numpy()),
        tuple(row.numpy() for row in summary),
    )
    scores = 2 * cross - norms[:, None]
    over_shifts, best_shift = scores.max(1)
    for i in range(images):
        peak = float(over_shifts[i].max())
        near = over_shifts[i] >= peak - nats - share * peak
        expected = torch.argsort(over_shifts[i], descending=True)[: min(most, int(near.sum()))]
        assert turn[i, : counts[i]].tolist() == expected.tolist()
        assert shift[i, : counts[i]].tolist() == best_shift[i, expected].tolist()
    plain = posterior(scores)
    torch.testing.assert_close(summary[1], plain.effective_poses, rtol=1e-3, atol=0)
    torch.testing.assert_close(summary[2], plain.log_evidence, rtol=1e-3, atol=0)
    assert counts.max() > 1


def test_of_poses_that_climbed_to_the_same_one_the_best_is_kept() -> None:
    turns = rotation_from_vector(torch.tensor([[0.0, 0, 0], [0.05, 0, 0], [0.5, 0, 0], [0, 0, 0], [0.5, 0.02, 0]]))
    first = torch.tensor([0, 0, 0, 3, 3])  # two images
    keep = torch.ones(5, dtype=torch.bool)
    least_trace = 1 + 2 * float(torch.cos(torch.tensor(0.1)))
    posterior_kernels.distinct_kernel(turns.contiguous().numpy(), first.numpy(), least_trace, keep.numpy())
    assert keep.tolist() == [True, False, True, True, True]
