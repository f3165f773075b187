from dataclasses import replace

import pytest
import torch

from vitreous.data import ArraySource, Optics, Particles
from vitreous.fourier.transform import irfft2_centred
from vitreous.geometry.rotations import random_rotations
from vitreous.methods.fastar.scenes import Blobs
from vitreous.methods.fastar.standardise import best_treatment, field_of, standard_views
from vitreous.methods.fastar.views import CTF_FLIPPED, CTF_MULTIPLIED, CTF_UNKNOWN, soft_disc
from vitreous.physics.ctf import ctf_half_plane
from vitreous.simulate.bead_views import project_beads

PIXEL_A, BOX, DIAMETER_A = 2.0, 96, 110.0


def optics(n: int) -> Optics:
    plain = Optics.without_ctf(n)
    ones = torch.ones(n, dtype=torch.float64)
    return Optics(
        voltage_kV=300 * ones,
        cs_mm=2.7 * ones,
        amplitude_contrast=0.1 * ones,
        defocus_u_A=torch.linspace(9000, 20000, n).double(),
        defocus_v_A=torch.linspace(8800, 19000, n).double(),
        defocus_angle_deg=30 * ones,
        phase_shift_deg=0 * ones,
        bfactor_A2=0 * ones,
        group=plain.group,
    )


def scene(n: int, shifts_A: torch.Tensor, generator: torch.Generator):
    """The same projections twice: in a box of 96 px of 2 Å, and straight in the standard field of 32 px."""
    drawn = Blobs().draw(1, 150, generator)
    rotations = random_rotations(n, generator)[None]
    field_A = field_of(DIAMETER_A)

    def render(side_A: float, box: int) -> torch.Tensor:
        shifts = shifts_A[None] / side_A
        # the width of a point keeps the projections below the Nyquist frequency of the standard view
        transform = project_beads(drawn.beads * field_A / side_A, drawn.weights, rotations, shifts, box)[0]
        ky = torch.fft.fftfreq(box, 1 / box)[:, None] / side_A
        kx = torch.arange(box // 2 + 1) / side_A
        return transform * torch.exp(-150.0 * (kx**2 + ky**2))

    return render(BOX * PIXEL_A, BOX), render(field_A, 32), field_A


def particles(images: torch.Tensor, n: int, ctf: Optics | None = None) -> Particles:
    ids = [f"{i + 1}@a.mrcs" for i in range(n)]
    import numpy as np

    return Particles(ArraySource(images.contiguous(), PIXEL_A), ctf or Optics.without_ctf(n), np.array(ids))


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a - a.mean((-2, -1), keepdim=True), b - b.mean((-2, -1), keepdim=True)
    return float(((a * b).sum((-2, -1)) / (a.norm(dim=(-2, -1)) * b.norm(dim=(-2, -1)))).min())


def test_a_view_of_a_particle_is_the_view_that_training_simulates(generator: torch.Generator) -> None:
    """Box, pixel size and shift drop out: only the field in units of the diameter is left."""
    n = 6
    shifts_A = 8 * torch.randn(n, 2, generator=generator)
    wide, _, field_A = scene(n, shifts_A, generator.manual_seed(3))
    _, standard, _ = scene(n, torch.zeros(n, 2), generator.manual_seed(3))
    given = particles(irfft2_centred(wide, BOX), n)
    views, size = standard_views(given, torch.arange(n), field_A, shifts_A, CTF_UNKNOWN)
    assert correlation(views, irfft2_centred(standard, 32) * soft_disc(32)) > 0.998
    assert (size == 1).all()


@pytest.mark.parametrize(("treatment", "factor"), [(CTF_FLIPPED, torch.sign), (CTF_MULTIPLIED, torch.clone)])
def test_the_ctf_is_treated_in_the_whole_box(treatment, factor, generator: torch.Generator) -> None:
    n = 5
    known = optics(n)
    wide, _, field_A = scene(n, torch.zeros(n, 2), generator)
    ctf = ctf_half_plane(known, BOX, PIXEL_A)
    given = particles(irfft2_centred(wide * ctf, BOX), n, known)
    treated = particles(irfft2_centred(wide * ctf * factor(ctf), BOX), n)
    zero = torch.zeros(n, 2)
    views, size = standard_views(given, torch.arange(n), field_A, zero, treatment)
    expected, _ = standard_views(treated, torch.arange(n), field_A, zero, CTF_UNKNOWN)
    torch.testing.assert_close(views, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)
    assert size.shape == (n, 15)
    assert float(size.max()) <= 1


def test_white_noise_stays_white_with_variance_one(generator: torch.Generator) -> None:
    n = 40
    given = particles(torch.randn(n, BOX, BOX, generator=generator), n)
    views, _ = standard_views(
        given, torch.arange(n), field_of(DIAMETER_A), torch.zeros(n, 2), CTF_UNKNOWN, masked=False
    )
    inside = views[:, 4:-4, 4:-4]
    assert float(inside.var()) == pytest.approx(1, rel=0.05)
    neighbours = (inside[:, 1:] * inside[:, :-1]).mean()
    assert abs(float(neighbours)) < 0.05


def test_the_treatment_follows_what_is_known(generator: torch.Generator) -> None:
    images = torch.randn(2, BOX, BOX, generator=generator)
    assert best_treatment(particles(images, 2)) == CTF_UNKNOWN
    known = particles(images, 2, optics(2))
    assert best_treatment(known) == CTF_FLIPPED
    assert best_treatment(replace(known, ctf_premultiplied=True)) == CTF_MULTIPLIED
