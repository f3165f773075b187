import numpy as np
import pytest
import torch

from vitreous.compute.progress import SilentProgress
from vitreous.data import ArraySource, Optics, Particles, Poses
from vitreous.evaluate.poses import compare_poses
from vitreous.fourier.frequencies import disc
from vitreous.fourier.shells import fsc
from vitreous.fourier.transform import irfft2_centred
from vitreous.geometry.rotations import mirror_rotations, random_rotations, rotation_from_vector
from vitreous.methods.fastar.halves import join_halves
from vitreous.methods.fastar.scenes import Blobs
from vitreous.physics.slices import FourierVolume
from vitreous.reconstruct.backprojection import centred_coefficients
from vitreous.simulate.bead_views import project_beads

N, BOX, PIXEL_A = 400, 32, 5.0


def test_halves_in_different_frames_and_hands_are_brought_together(generator: torch.Generator) -> None:
    drawn = Blobs().draw(1, 150, generator)
    rotations = random_rotations(N, generator)
    shifts = 0.03 * torch.randn(N, 2, generator=generator)
    images = irfft2_centred(project_beads(drawn.beads, drawn.weights, rotations[None], shifts[None], BOX)[0], BOX)
    images = images / images.std() + torch.randn(images.shape, generator=generator)
    ids = np.array([f"{i + 1}@a.mrcs" for i in range(N)])
    particles = Particles(ArraySource(images, PIXEL_A), Optics.without_ctf(N), ids)
    half_sets = 1 + torch.arange(N) % 2
    truth = Poses(rotations, shifts * BOX * PIXEL_A)

    apart = rotation_from_vector(0.1 * torch.randn(N, 3, generator=generator)) @ rotations
    second = half_sets == 2
    apart[second] = mirror_rotations(apart[second] @ random_rotations(1, generator))
    given = Poses(apart, truth.shifts_A)
    assert compare_poses(given, truth, PIXEL_A).within_10_deg < 0.5  # half of the poses are in another frame

    joined = join_halves(particles, given, half_sets, SilentProgress())
    found = compare_poses(joined.poses, truth, PIXEL_A)
    assert found.median_deg < 12  # errors of 0.1 rad per axis: median 8.8°
    assert found.shift_mean_px < 0.3
    assert joined.agreement_shell > 5
    first, second = joined.maps
    assert float(fsc(first.values, second.values)[1:5].min()) > 0.5
    assert first.box * first.voxel_size_A == pytest.approx(BOX * PIXEL_A)
    # the slices of the maps have the scale of the images
    radius = 4.0
    of_map = FourierVolume.from_map(first.values / BOX)
    k = disc(BOX, radius)
    slices = of_map.sample(joined.poses.rotations[:50].contiguous(), k.kx, k.ky)
    seen = centred_coefficients(images[:50], joined.poses.shifts_A[:50] / PIXEL_A, k)
    assert float((slices.conj() * seen).real.sum() / slices.abs().square().sum()) == pytest.approx(1, abs=0.2)
    assert torch.equal(given.rotations, apart)
