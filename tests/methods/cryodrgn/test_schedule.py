"""The schedule against torch's own."""

import pytest
import torch

from vitreous.compute.annealing import Annealing
from vitreous.methods.cryodrgn.schedule import HELD_FROM, Schedule

EPOCH = 3


def rates(losses: torch.Tensor, patience: int, wait: float = 0.0) -> tuple[list[float], Schedule]:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], 0.1)
    schedule = Schedule(optimizer, EPOCH, patience, wait)
    found = []
    for loss in losses:
        optimizer.step()
        schedule.observe(loss)
        schedule.step()
        found.append(optimizer.param_groups[0]["lr"])
    return found, schedule


@pytest.mark.parametrize("patience", [1, 3])
def test_rates_are_those_of_reduce_lr_on_plateau(patience: int, generator) -> None:
    losses = 1 + torch.rand(40 * EPOCH, generator=generator, dtype=torch.float64)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=patience)
    expected = []
    for epoch in losses.view(-1, EPOCH):
        theirs.step(epoch.mean().item())
        expected.append(optimizer.param_groups[0]["lr"])
    found = rates(losses, patience)[0][EPOCH - 1 :: EPOCH]
    assert found == pytest.approx(expected)
    assert found[-1] < 0.02  # it was put to the test


def test_rates_change_between_epochs_only_and_not_before_the_wait_is_over() -> None:
    losses = torch.ones(12 * EPOCH)
    found = torch.tensor(rates(losses, 1)[0]).view(-1, EPOCH)
    assert torch.equal(found[1:, 0], found[1:, 1])
    first = [int(torch.tensor(rates(losses, 1, wait)[0]).lt(0.1).nonzero()[0]) for wait in (0.0, 4.0)]
    assert first[1] - first[0] == 4 * EPOCH


def test_patience_zero_never_halves() -> None:
    assert set(rates(torch.ones(30), 0)[0]) == {0.1}


def test_a_state_taken_within_an_epoch_goes_on_alike(generator) -> None:
    losses = 1 + torch.rand(60, generator=generator)
    whole, _ = rates(losses, 1)
    _, stopped = rates(losses[:31], 1)
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], 0.1)
    again = Schedule(optimizer, EPOCH, 1)
    again.load_state_dict(stopped.state_dict())
    found = []
    for loss in losses[31:]:
        optimizer.step()
        again.observe(loss)
        again.step()
        found.append(optimizer.param_groups[0]["lr"])
    assert found == whole[31:]


def test_groups_are_held_from_their_step_on() -> None:
    moving, held = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimizer = torch.optim.Adam([{"params": [moving]}, {"params": [held], HELD_FROM: 4}], 0.1)
    schedule = Schedule(optimizer, EPOCH, 0)
    places = []
    for _ in range(8):
        (moving.sum() + held.sum()).backward()
        optimizer.step()
        schedule.observe(torch.tensor(1.0))
        schedule.step()
        places.append((moving.item(), held.item()))
    assert len({place for _, place in places[3:]}) == 1
    assert len({place for place, _ in places}) == 8


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_rates_fall_as_torchs_cosine_does_over_the_last_share(share: float) -> None:
    steps = 40
    falling = int(steps * share)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, falling)
    expected = [0.1] * (steps - falling)
    for _ in range(falling):
        optimizer.step()
        theirs.step()
        expected.append(optimizer.param_groups[0]["lr"])
    mine = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], 0.1)
    schedule = Schedule(mine, EPOCH, 0, annealing=Annealing.at_end_of(steps, share))
    found = []
    for _ in range(steps):
        mine.step()
        schedule.observe(torch.tensor(1.0))
        schedule.step()
        found.append(mine.param_groups[0]["lr"])
    assert found == pytest.approx(expected, abs=1e-12)


def test_without_a_share_nothing_falls() -> None:
    assert {Annealing.at_end_of(40, 0.0).factor(step) for step in range(50)} == {1.0}
