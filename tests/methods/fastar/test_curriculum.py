"""The curriculum moves between its stages and stays at its end."""

import math
from dataclasses import fields
from itertools import pairwise

import pytest

from vitreous.errors import ConfigError
from vitreous.methods.fastar.curriculum import CURRICULUM, Stage, moment
from vitreous.methods.fastar.simulator import ViewConfig

FIRST = Stage(1000, views=8, snr=(4.0, 100.0), shift=0.02, ctf=0.0, corpus=0.2, composite=0.6, rate=1.0)
SECOND = Stage(2000, views=16, snr=(1.0, 25.0), shift=0.06, ctf=1.0, corpus=0.6, composite=0.2, stacks=0.5, rate=0.5)
BASE = ViewConfig(neighbours=0.3, beads=77)


def at(views_seen: int, curriculum: tuple[Stage, ...] = (FIRST, SECOND)) -> Stage:
    return moment(curriculum, views_seen, BASE).stage


@pytest.mark.parametrize("views_seen", [0, 500, 1000])
def test_first_stage_holds_throughout(views_seen: int) -> None:
    now = at(views_seen)
    for field in fields(Stage):
        if field.name != "views_seen":
            assert getattr(now, field.name) == pytest.approx(getattr(FIRST, field.name)), field.name


@pytest.mark.parametrize("t", [0.25, 0.5, 0.75])
def test_later_stages_are_reached_by_steps(t: float) -> None:
    now = at(1000 + int(2000 * t))
    for name in ("shift", "ctf", "corpus", "composite", "stacks", "rate"):
        assert getattr(now, name) == pytest.approx((1 - t) * getattr(FIRST, name) + t * getattr(SECOND, name))
    for found, a, b in zip(now.snr, FIRST.snr, SECOND.snr):
        assert math.log(found) == pytest.approx((1 - t) * math.log(a) + t * math.log(b))
    assert now.views % 4 == 0
    assert abs(now.views - (8 + 8 * t)) <= 2


@pytest.mark.parametrize("views_seen", [3000, 3001, 10**12])
def test_last_stage_stays(views_seen: int) -> None:
    assert at(views_seen) == SECOND


def test_nothing_jumps_between_stages() -> None:
    before, after = at(2999), at(3000)
    for name in ("shift", "ctf", "corpus", "composite", "stacks", "rate"):
        assert getattr(after, name) == pytest.approx(getattr(before, name), abs=1e-3)
    assert before.views == after.views


def test_views_are_simulated_as_the_stage_says() -> None:
    now = moment((FIRST, SECOND), 1800, BASE)
    assert (now.view_config.views, now.view_config.snr, now.view_config.shift) == (
        now.stage.views,
        now.stage.snr,
        now.stage.shift,
    )
    assert (now.view_config.neighbours, now.view_config.beads) == (0.3, 77)


def test_two_views_as_a_start_lead_to_many() -> None:
    curriculum = (Stage(100, views=2), Stage(1000, views=16), Stage(1000, views=30))
    views = [at(n, curriculum).views for n in range(0, 2200, 20)]
    assert views == sorted(views)
    assert views[0] == 2
    assert views[-1] == 30
    assert min(views) >= 2


def test_shipped_curriculum_goes_from_few_clean_views_to_many_noisy_ones() -> None:
    total = sum(stage.views_seen for stage in CURRICULUM)
    course = [at(int(total * k / 200), CURRICULUM) for k in range(202)]
    assert course[0].views == 8
    assert course[-1].views == 32
    assert all(a.views <= b.views for a, b in pairwise(course))
    assert all(a.snr[k] * 1.000001 >= b.snr[k] for k in (0, 1) for a, b in pairwise(course))
    assert course[-1].snr[0] < 0.1 < course[-1].snr[1]
    assert all(0 <= share <= 1 for s in course for share in (s.ctf, s.corpus, s.composite, s.stacks))


@pytest.mark.parametrize("wrong", [(), (Stage(0),), (FIRST, Stage(-5))])
def test_stages_without_length_are_refused(wrong: tuple[Stage, ...]) -> None:
    with pytest.raises(ConfigError, match="views_seen"):
        at(0, wrong)
