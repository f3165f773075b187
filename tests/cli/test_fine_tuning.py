"""Stacks of `vitreous pretrain` are opened, measured and split, or refused by name."""

import pytest

from tests.cli.blobs import write_blob_particles
from vitreous.cli.context import RunContext
from vitreous.cli.fine_tuning import StackOptions
from vitreous.cli.options import Common
from vitreous.errors import ConfigError, InputError
from vitreous.methods.fastar.curriculum import CURRICULUM, Stage


@pytest.fixture(scope="module")
def star(tmp_path_factory):
    return write_blob_particles(tmp_path_factory.mktemp("blobs"), n=200)


@pytest.fixture
def context():
    return RunContext("pretrain", (), {}, Common(quiet=True))


def test_a_stack_is_measured_and_split(star, context):
    """The blobs lie within 8 px of 3 Å from the centre."""
    options = StackOptions((star,), held_out=0.3)
    ((name, (first, second)),) = options.opened(32, 0, context).items()
    assert name == f"{star.parent.name}/particles.star"
    assert (len(first.poses), len(second.poses)) == (140, 60)
    assert 45 < first.diameter_A < 85
    given = StackOptions((star,), (70.0,)).opened(32, 0, context)
    assert [part.diameter_A for parts in given.values() for part in parts] == [70.0, 70.0]


def test_equal_names_are_told_apart(star, context):
    found = StackOptions((star, star), (70.0, 60.0)).opened(32, 0, context)
    assert [parts[0].diameter_A for parts in found.values()] == [70.0, 60.0]


def test_too_few_particles_are_refused_before_training(star, context):
    with pytest.raises(InputError, match=r"particles\.star: too few .*at least 32.*found 20.*--held-out"):
        StackOptions((star,), (70.0,), held_out=0.9).opened(32, 0, context)


@pytest.mark.parametrize(
    "options",
    [
        {"stack_diameters_A": (1.0,)},
        {"stack_share": 1.0},
        {"held_out": -0.1},
    ],
)
def test_wrong_options_are_named(options):
    with pytest.raises(ConfigError, match="--"):
        StackOptions(**options)


def test_the_share_of_stacks_is_the_curriculum_s_own_where_it_has_one(star):
    assert StackOptions().curriculum_with(CURRICULUM) == CURRICULUM
    everywhere = StackOptions((star,), stack_share=0.4).curriculum_with(CURRICULUM)
    assert {stage.stacks for stage in everywhere} == {0.4}
    late = (Stage(1000), Stage(1000, stacks=0.3))
    assert StackOptions((star,), stack_share=0.4).curriculum_with(late) == late
