"""The pose network: sets of views in any order, turned views, views that are not heard, cost, sizes."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.methods.fastar.small import BOTH, LINES, ODD, PATCHES, network_of, quarter_turned, random_truth, random_views
from vitreous.errors import InputError
from vitreous.geometry.planar_maps import planar_map, relative_rotations
from vitreous.methods.fastar.config import VIT_LARGE
from vitreous.methods.fastar.model import PoseNetwork, Prediction
from vitreous.methods.fastar.views import Views

QUARTER = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def parts(prediction: Prediction) -> tuple[torch.Tensor, ...]:
    return prediction.slices, prediction.shifts, prediction.confidences


def assert_same(first: Prediction, second: Prediction, views: object = slice(None), others: object = None) -> None:
    others = views if others is None else others
    for a, b in zip(parts(first), parts(second)):
        torch.testing.assert_close(a[:, views], b[:, others], atol=2e-5, rtol=1e-5)


def picked(views: Views, order: list[int]) -> Views:
    return Views(views.images[:, order], views.ctf_size[:, order], views.treatment)


def with_changed(views: Views, index: int, change: Callable[[torch.Tensor], torch.Tensor]) -> Views:
    images = views.images.clone()
    images[:, index] = change(images[:, index])
    return replace(views, images=images)


@pytest.mark.parametrize("kind", BOTH)
@torch.no_grad()
def test_order_of_the_views_does_not_matter(kind: str, generator: torch.Generator) -> None:
    network, views = network_of(BOTH[kind]), random_views(generator, BOTH[kind])
    order = [0, 4, 1, 5, 3, 2]
    found, permuted = network(views), network(picked(views, order))
    assert len(found) == BOTH[kind].maps + 1
    for layer, other in zip(found, permuted):
        assert_same(other, layer, slice(None), order)
    swapped = network(picked(views, [1, 0, 2, 3, 4, 5]))[-1]
    assert (swapped.slices[:, 2:] - found[-1].slices[:, 2:]).abs().max() > 1e-3


@torch.no_grad()
def test_turning_a_view_turns_its_own_pose_alone(generator: torch.Generator) -> None:
    """``R_i`` becomes ``Q R_i``: the relative rotation ``R_1 R_iᵀ Qᵀ``, the shift ``Q t_i``."""
    network, views = network_of(ODD), random_views(generator, ODD)
    before, after = network(views)[-1], network(with_changed(views, 3, quarter_turned))[-1]
    assert_same(after, before, [0, 1, 2, 4, 5])
    X0 = network.coordinates
    (R, t), (turned_R, turned_t) = before.poses(X0), after.poses(X0)
    torch.testing.assert_close(turned_R[:, 3], R[:, 3] @ QUARTER.T, atol=1e-3, rtol=0)
    torch.testing.assert_close(turned_t[:, 3], t[:, 3] @ QUARTER[:2, :2].T, atol=1e-5, rtol=0)


@torch.no_grad()
def test_views_that_are_not_heard_change_nothing_for_the_others(generator: torch.Generator) -> None:
    """A view's mirror image leaves the whitening as it is, which hears all views."""
    network, views = network_of(ODD), random_views(generator, ODD)
    unheard, heard = (with_changed(views, index, lambda image: image.flip(-2)) for index in (5, 3))
    for layer, other in zip(network(views, 3), network(unheard, 3)):
        assert_same(other, layer, slice(0, 5))
        assert (other.slices[:, 5] - layer.slices[:, 5]).abs().max() > 1e-3
    still = network(views, 3)[-1].slices[:, [1, 2, 4, 5]]
    assert (network(heard, 3)[-1].slices[:, [1, 2, 4, 5]] - still).abs().max() > 1e-5


@pytest.mark.parametrize("kind", BOTH)
@torch.no_grad()
def test_views_placed_in_a_frame_are_those_of_the_forward_pass(kind: str, generator: torch.Generator) -> None:
    network, views = network_of(BOTH[kind]), random_views(generator, BOTH[kind])
    tokens = network.encode(views)
    frame = network.frame(tokens.views(slice(4)))
    assert_same(
        network.place_in(frame, tokens.views(slice(4, None))), network(views, 3)[-1], slice(None), slice(4, None)
    )
    single = network.place_in(frame, tokens.views(slice(4, 5)))
    assert_same(single, network.place_in(frame, tokens.views(slice(4, None))), slice(None), slice(0, 1))


@pytest.mark.parametrize("kind", BOTH)
@torch.no_grad()
def test_map_of_the_reference_is_its_own_plane(kind: str, generator: torch.Generator) -> None:
    network = network_of(BOTH[kind])
    found = network(random_views(generator, BOTH[kind]))[-1]
    X0 = network.coordinates
    torch.testing.assert_close(found.maps[:, 0, :, :2], X0[:, :2] + found.shifts[:, 0])
    torch.testing.assert_close(found.maps[:, 0, :, 2], torch.zeros_like(found.confidences[:, 0]))
    torch.testing.assert_close(found.poses(X0)[0][:, 0], torch.eye(3).expand(2, 3, 3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("views", [2, 5])
@torch.no_grad()
def test_exact_maps_give_exact_poses(kind: str, views: int, generator: torch.Generator) -> None:
    """What the heads would say if they were right, read as poses."""
    X0, truth = PoseNetwork(BOTH[kind]).coordinates, random_truth(generator, 2, views)
    relative = relative_rotations(truth.rotations)
    slices = planar_map(relative, torch.zeros_like(truth.shifts), X0)
    shifts = truth.shifts[:, :, None].expand(-1, -1, len(X0), -1)
    confidences = 1 + torch.rand(slices.shape[:3], generator=generator)
    rotations, t = Prediction(slices, shifts, confidences).poses(X0)
    torch.testing.assert_close(rotations, relative, atol=1e-5, rtol=0)
    torch.testing.assert_close(t, truth.shifts, atol=1e-6, rtol=0)


@pytest.mark.parametrize("bias", [-1e4, 0.0, 1e4])
@torch.no_grad()
def test_confidences_are_finite_and_above_one(bias: float, generator: torch.Generator) -> None:
    network = network_of(LINES)
    for head in network.heads:
        head[1].bias[5::6] = bias
    confidences = network(random_views(generator))[-1].confidences
    assert (confidences > 1).all()
    assert torch.isfinite(confidences).all()


@pytest.mark.parametrize("config", [LINES, replace(LINES, slim=False, decoder_width=16), PATCHES])
def test_cost_is_linear_in_the_number_of_views(config, generator: torch.Generator) -> None:
    network = PoseNetwork(config)

    def flops(n: int) -> int:
        with FlopCounterMode(display=False) as counter:
            network(random_views(generator, config, 1, n))
        return counter.get_total_flops()

    sixteen, thirty_two, sixty_four = flops(16), flops(32), flops(64)
    assert sixteen > 0
    assert sixty_four - thirty_two == 2 * (thirty_two - sixteen)


def test_vit_large_is_the_network_of_the_paper() -> None:
    """24 encoder layers of 1024 features, 12 decoder layers of 768, from the sizes of their matrices."""
    with torch.device("meta"):
        network = PoseNetwork(VIT_LARGE)
    w, v, pixels, shells = 1024, 768, 16 * 16, 63
    attention, mlp, norm = (lambda n: 4 * n * n + 4 * n), (lambda n: 8 * n * n + 5 * n), (lambda n: 2 * n)
    alone = lambda n: norm(n) + attention(n) + norm(n) + mlp(n)  # noqa: E731
    together = lambda n: alone(n) + norm(n)  # noqa: E731  the context has a norm of its own
    told = (shells + 1) * w + 3 * w
    expected = {
        "tokeniser": (pixels + 1) * w + told,
        "encoder": 24 * alone(w),
        "bridge": (w + 1) * v,
        "place": (9 + 1) * v + (v + 1) * v,
        "roles": 2 * v,
        "integrate": 12 * (alone(v) + together(v)),
        "update": 12 * (alone(v) + together(v)),
        "heads": 2 * (norm(v) + (v + 1) * 6 * pixels),
    }
    found = dict.fromkeys(expected, 0)
    for name, parameter in network.named_parameters():
        found[name.split(".")[0]] += parameter.numel()
    assert found == expected
    assert 640e6 < sum(found.values()) < 650e6
    assert [block.attention.heads for block in network.encoder] == [16] * 24
    assert [layer.alone.attention.heads for layer in network.integrate] == [12] * 12


def test_views_of_another_box_are_refused(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match=r"expected 32 × 32 px, found 33 × 33"):
        network_of(LINES)(random_views(generator, ODD))


def test_one_view_is_refused(generator: torch.Generator) -> None:
    with pytest.raises(InputError, match="one view"):
        network_of(LINES)(random_views(generator, n=1))
