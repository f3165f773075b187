from dataclasses import replace

import numpy as np
import pytest
import torch

from vitreous.compute.progress import SilentProgress
from vitreous.data import ArraySource, Optics, Particles, Poses
from vitreous.errors import ConfigError, InputError
from vitreous.fourier.transform import irfft2_centred
from vitreous.geometry.rotations import random_rotations
from vitreous.methods.fastar import method
from vitreous.methods.fastar.config import FastARConfig, FrameConfig, ModelConfig
from vitreous.methods.fastar.halves import join_halves
from vitreous.methods.fastar.method import FastAR
from vitreous.methods.fastar.model import PoseNetwork
from vitreous.methods.fastar.placement import Placement
from vitreous.methods.fastar.scenes import Blobs
from vitreous.methods.fastar.simulator import ViewConfig, simulate_views
from vitreous.methods.fastar.verdict import judge
from vitreous.methods.fastar.views import Views
from vitreous.simulate.bead_views import project_beads

SMALL = ModelConfig(width=32, heads=2, encoder_depth=1, decoder_depth=2, maps=1)


@pytest.fixture
def network() -> PoseNetwork:
    torch.manual_seed(0)
    return PoseNetwork(SMALL).eval()


def some_views(n: int, generator: torch.Generator) -> Views:
    config = ViewConfig(views=n, snr=(10.0, 10.0), ctf=False)
    return simulate_views(Blobs().draw(1, 60, generator), config, SMALL.box, generator)[0]


def test_a_view_placed_in_a_frame_is_predicted_as_one_that_was_not_heard(network, generator) -> None:
    views = some_views(12, generator)
    with torch.no_grad():
        tokens = network.encode(views)
        frame = network.frame(tokens.views(slice(8)))
        placed = network.place_in(frame, tokens.views(slice(8, None)))
        whole = network(views, 7)[-1]
    torch.testing.assert_close(placed.slices, whole.slices[:, 8:], atol=1e-5, rtol=0)
    torch.testing.assert_close(placed.confidences, whole.confidences[:, 8:], atol=1e-5, rtol=0)


def test_every_particle_is_placed_once_in_every_frame(network, generator) -> None:
    views = some_views(150, generator)
    placement = Placement(network, views)
    references = placement.rank_references(5, 20, generator, SilentProgress())
    assert sorted(references.tolist()) == sorted(set(references.tolist()))
    found = placement.place(references[:3], generator.manual_seed(1), SilentProgress())
    assert found.rotations.shape == (3, 150, 3, 3)
    identity = found.rotations @ found.rotations.mT
    torch.testing.assert_close(identity, torch.eye(3).expand_as(identity), atol=1e-4, rtol=0)
    again = placement.place(references[:3], generator.manual_seed(1), SilentProgress())
    assert torch.equal(found.rotations, again.rotations)
    assert (found.confidences > 1).all()


def test_later_passes_compare_with_the_map_of_all_particles(network, generator, monkeypatch) -> None:
    torch.nn.init.normal_(network.maps[0].describe.weight)
    placement = Placement(network, some_views(300, generator))
    references = torch.tensor([3, 250])
    first = placement.place(references, generator.manual_seed(1), SilentProgress())
    frames = []
    monkeypatch.setattr(
        network, "place_in", lambda frame, tokens: frames.append(frame) or PoseNetwork.place_in(network, frame, tokens)
    )
    second = placement.place(references, generator.manual_seed(1), SilentProgress(), first)
    assert (second.rotations - first.rotations).abs().max() > 1e-3
    seen = frames[0].maps[0].weights.sum(1)
    one_set = network.frame(network.encode(placement.views))
    # every particle counts, with the share of its confidence that is not doubt
    everyone = 1 - first.confidences.reciprocal()
    heard = first.frames(torch.tensor([1]))
    assert torch.equal(heard.rotations[0], first.rotations[1])
    ratio = seen / everyone.sum(1)
    torch.testing.assert_close(ratio[0], ratio[1], rtol=0.05, atol=0)
    assert one_set.maps[0].weights.shape == frames[0].maps[0].weights[:1].shape


def noise(n: int, generator: torch.Generator) -> Particles:
    ids = np.array([f"{i + 1}@a.mrcs" for i in range(n)])
    return Particles(ArraySource(torch.randn(n, 32, 32, generator=generator), 4.0), Optics.without_ctf(n), ids)


def test_too_few_particles_are_refused(network, generator) -> None:
    with pytest.raises(InputError, match="too few particles"):
        FastAR(network).run(noise(30, generator))
    with pytest.raises(InputError, match="too few particles"):
        FastAR(network).propose(noise(30, generator))


def test_an_empty_half_set_is_refused(network, generator) -> None:
    particles = replace(noise(120, generator), half_sets=torch.ones(120, dtype=torch.int64))
    with pytest.raises(InputError, match="half-set is empty"):
        FastAR(network).propose(particles)


def test_a_proposal_places_as_many_of_both_halves_and_splits_all(network, generator, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(method, "join_halves", lambda *a: seen.append(a[2]) or join_halves(*a))
    frames = FrameConfig(candidates=3, references=2, passes=2, particles=120)
    found = FastAR(network, FastARConfig(80.0, seed=5, frames=frames)).propose(noise(300, generator))
    assert torch.bincount(seen[0])[1:].tolist() == [60, 60]
    assert torch.bincount(found.half_sets)[1:].tolist() == [150, 150]
    assert found.verdict == "failed"
    assert found.maps[0].box * found.maps[0].voxel_size_A == pytest.approx(32 * 4.0)
    assert found.metrics["diameter_A"] == 80.0


def test_pure_noise_is_not_called_solved(network, generator) -> None:
    """A network that knows nothing, on images that hold nothing."""
    config = FastARConfig(diameter_A=80.0, frames=FrameConfig(candidates=4, references=2, passes=2))
    result = FastAR(network, config).run(noise(200, generator))
    assert result.verdict == "failed"
    assert any("not confident" in warning for warning in result.warnings)
    assert result.poses is not None
    assert len(result.poses.rotations) == 200


@pytest.mark.parametrize(("shell", "spread", "confidence", "verdict"), [
    (12.0, 15.0, 3.0, "solved"), (12.0, 100.0, 3.0, "failed"), (3.0, 15.0, 3.0, "failed"),
    (6.5, 15.0, 3.0, "ambiguous"), (12.0, 40.0, 3.0, "ambiguous"), (12.0, 15.0, 1.1, "failed"),
    (12.0, 15.0, 1.6, "ambiguous"), (12.0, 25.0, 3.0, "ambiguous"),
])  # fmt: skip
def test_verdict_needs_confidence_and_agreement_of_halves_and_of_references(shell, spread, confidence, verdict) -> None:
    assert judge(shell, 0.6, confidence, torch.full((10,), spread))[0] == verdict


def test_one_frame_is_never_called_solved() -> None:
    assert judge(12.0, 0.6, 3.0, None)[0] == "ambiguous"
    assert judge(3.0, 0.6, 3.0, None)[0] == "failed"
    assert FrameConfig(references=1).compared == 1
    assert FrameConfig(finalists=1).compared == 1
    assert FrameConfig(finalists=1, passes=1).compared == 4


def test_a_diameter_beyond_the_box_is_refused(network, generator) -> None:
    with pytest.raises(ConfigError, match="--diameter"):
        FastAR(network, FastARConfig(diameter_A=130.0)).propose(noise(100, generator))


def test_random_rotations_of_a_real_particle_are_called_failed(generator) -> None:
    """Their maps are balls, and two balls agree."""
    n, size = 600, 32
    drawn = Blobs().draw(1, 150, generator)
    truth = random_rotations(n, generator)
    images = irfft2_centred(project_beads(drawn.beads, drawn.weights, truth[None], torch.zeros(1, n, 2), size)[0], size)
    images = images / images.std() + torch.randn(images.shape, generator=generator)
    ids = np.array([f"{i + 1}@a.mrcs" for i in range(n)])
    particles = Particles(ArraySource(images, 4.0), Optics.without_ctf(n), ids)
    poses = Poses(random_rotations(n, generator), torch.zeros(n, 2))
    joined = join_halves(particles, poses, 1 + torch.arange(n) % 2, SilentProgress())
    assert judge(joined.agreement_shell, 0.75, 3.0, torch.full((n,), 125.0))[0] == "failed"
    assert judge(joined.agreement_shell, 0.75, 3.0, None)[0] != "solved"


def test_impossible_settings_name_their_flag() -> None:
    with pytest.raises(ConfigError, match=r"--network\.passes"):
        FrameConfig(passes=0)
    with pytest.raises(ConfigError, match=r"--network\.references"):
        FrameConfig(candidates=3, references=4)
