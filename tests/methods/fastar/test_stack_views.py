"""Views cut from a stack on disk are those that training would have simulated, with the same poses."""

import math
import pickle
from dataclasses import replace

import pytest
import torch

from vitreous.errors import InputError
from vitreous.fourier.transform import irfft2_centred
from vitreous.io import open_particles
from vitreous.methods.fastar.centring import centre_shifts
from vitreous.methods.fastar.curriculum import Stage
from vitreous.methods.fastar.simulator import ViewConfig
from vitreous.methods.fastar.stack_views import Cut, PosedStack, PosedStacks, cut_set, score_stack
from vitreous.methods.fastar.standardise import field_of, standard_views
from vitreous.methods.fastar.training import PretrainConfig, Pretraining, StepConfig
from vitreous.methods.fastar.views import CTF_FLIPPED, CTF_MULTIPLIED, CTF_UNKNOWN, soft_disc
from vitreous.simulate.bead_views import project_beads
from vitreous.simulate.config import SimulationConfig
from vitreous.simulate.motions import phantom_hinge
from vitreous.simulate.stack import plan_simulation, simulate_stack

from .small import LINES, network_of

DIAMETER_A, BOX = 150.0, 32


def write_phantom(folder, **changes):
    config = SimulationConfig(n=60, box=48, pixel_size=4.5, shift=3.0, resolution=20.0, **changes)
    plan = plan_simulation(phantom_hinge((0.0,)).states(), config)
    simulate_stack(plan, folder)
    return plan, PosedStack.of(open_particles(folder / "truth.star"), DIAMETER_A)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return write_phantom(tmp_path_factory.mktemp("clean"), snr=math.inf, ctf="none")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    return write_phantom(tmp_path_factory.mktemp("noisy"), snr=2.0)[1]


def simulated(plan, rotations, shifts, field_A):
    """The phantom's atoms projected as training projects points, at the stack's resolution."""
    atoms = plan.states[0].atoms
    beads = ((atoms.xyz_A - plan.centre_A) / field_A).float()
    signal = project_beads(beads[None], torch.ones(1, len(beads)), rotations, shifts, BOX)
    k = torch.fft.fftfreq(BOX, 1 / BOX)
    soft = torch.exp(-((k[:, None] ** 2 + k[: BOX // 2 + 1] ** 2) * (12.0 / field_A) ** 2))
    return irfft2_centred(signal * soft, BOX)[0] * soft_disc(BOX)


def correlations(a, b):
    a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (a, b))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


@pytest.mark.parametrize("is_centred", [False, True])
def test_a_cut_view_is_the_simulated_view_of_the_same_pose(clean, generator, is_centred):
    """Mirrored, transposed or moved by a pixel, it would not be."""
    plan, stack = clean
    field_A = field_of(DIAMETER_A)
    rows = torch.randperm(60, generator=generator)[:12]
    known_A = stack.poses.shifts_A[rows] if is_centred else None
    views, truth = cut_set(stack, Cut(rows, field_A, CTF_UNKNOWN, known_A), BOX)
    assert views.images.shape == (1, 12, BOX, BOX)
    expected = simulated(plan, truth.rotations, truth.shifts, field_A)
    right = correlations(views.images[0], expected)
    assert right.min() > 0.99
    inverse = correlations(views.images[0], simulated(plan, truth.rotations.mT, truth.shifts, field_A))
    assert inverse.median() < 0.8
    if is_centred:
        assert truth.shifts.abs().max() < 1e-6
    else:
        moved = simulated(plan, truth.rotations, truth.shifts + torch.tensor([1 / BOX, 0]), field_A)
        assert (right > correlations(views.images[0], moved)).all()


def test_what_centring_leaves_does_not_depend_on_where_the_particles_were(clean):
    """It is the shape's own: centred by their poses first, they are found as far from there."""
    _, stack = clean
    rows, field_A = torch.arange(60), field_of(DIAMETER_A)
    _, truth = cut_set(stack, Cut(rows, field_A, CTF_UNKNOWN), BOX)
    at_pose, _ = standard_views(
        stack.particles, rows, field_A, stack.poses.shifts_A, CTF_UNKNOWN, box=BOX, masked=False
    )
    own = -centre_shifts(at_pose[None])[0]
    assert stack.poses.shifts_A.abs().max() / field_A > 0.06
    assert (truth.shifts[0] - own).norm(dim=-1).median() < 0.1 / BOX


def test_sets_follow_from_the_seed_and_vary_as_simulated_ones_do(noisy):
    source = PosedStacks((noisy,), BOX, ViewConfig(recentred=0.5))
    views, truth = source.draw(16, 8, torch.Generator().manual_seed(5))
    again, _ = source.draw(16, 8, torch.Generator().manual_seed(5))
    other, _ = source.draw(16, 8, torch.Generator().manual_seed(6))
    assert torch.equal(views.images, again.images)
    assert not torch.equal(views.images, other.images)
    assert set(views.treatment.tolist()) == {CTF_UNKNOWN, CTF_FLIPPED, CTF_MULTIPLIED}
    blind = views.treatment == CTF_UNKNOWN
    assert (views.ctf_size[blind] == 1).all()
    assert (views.ctf_size[~blind] < 1).all()
    # centred by an earlier prediction to 0.2–2 % of the field, or by correlation
    spread = truth.shifts.square().sum(-1).mean(1).sqrt()
    assert 0.3 < (spread < 0.03).float().mean() <= 1
    assert len({round(float(r[0, 0, 0]), 6) for r in truth.rotations}) > 8


def test_premultiplied_images_are_called_so(noisy):
    given = PosedStack.of(replace(noisy.particles, ctf_premultiplied=True), DIAMETER_A)
    views, _ = PosedStacks((given,), BOX).draw(6, 8, torch.Generator().manual_seed(1))
    assert set(views.treatment.tolist()) == {CTF_MULTIPLIED}


def test_parts_share_no_particle_and_make_up_the_stack(noisy):
    first, second = noisy.split(0.25, seed=3)
    assert (len(first.poses), len(second.poses)) == (45, 15)
    assert set(first.particles.ids) | set(second.particles.ids) == set(noisy.particles.ids)
    assert not set(first.particles.ids) & set(second.particles.ids)
    row = list(noisy.particles.ids).index(second.particles.ids[4])
    assert torch.equal(second.poses.rotations[4], noisy.poses.rotations[row])


def test_training_draws_the_share_of_batches_that_the_curriculum_asks_for(noisy):
    """Chunks come whole from a stack or from the simulation; the same step gives the same views in every process."""
    config = PretrainConfig(LINES, step=StepConfig(batch_views=16), curriculum=(Stage(10**6, views=8, stacks=0.5),))
    task = Pretraining(config, stacks=PosedStacks((noisy,), BOX))
    task = pickle.loads(pickle.dumps(task))  # noqa: S301  as processes get it
    known = noisy.poses.rotations.float()
    cut = []
    for step in range(40):
        views, truth = task.simulate([(step, 0)])
        assert views.images.shape == (1, 8, BOX, BOX)
        cut.append(bool((truth.rotations[0, 0] - known).abs().amax((1, 2)).min() < 1e-5))
    assert 10 <= sum(cut) <= 30


def test_an_untrained_network_scores_at_chance(noisy):
    """Random relative rotations, after the better of two hands, differ from the truth by a Frobenius norm of 2.3."""
    scores = score_stack(network_of(LINES), noisy, sets=8)
    assert 1.9 < scores["fnorm_median"] < 2.8
    assert scores["median_deg"] == pytest.approx(math.degrees(2 * math.asin(scores["fnorm_median"] / 8**0.5)), rel=1e-3)


def test_stacks_that_cannot_serve_are_refused(noisy):
    with pytest.raises(InputError, match="no poses"):
        PosedStack.of(noisy.particles.with_poses(None), DIAMETER_A)
    with pytest.raises(InputError, match="at least 64, found 60"):
        PosedStacks((noisy,), BOX).draw(1, 64, torch.Generator())
