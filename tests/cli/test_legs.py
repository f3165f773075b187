"""Legs of training go on from where the last one ended, here and elsewhere, and say in what they differ."""

from dataclasses import replace

import pytest
import torch

from vitreous.cli.changes import changes
from vitreous.cli.legs import FREE_OPTIONS, History, Leg, export, hardware_of, refuse_shards, take_up
from vitreous.errors import ConfigError, InputError
from vitreous.methods.fastar.config import ModelConfig
from vitreous.runs.manifest import InputFile, Manifest
from vitreous.runs.shards import export_shards
from vitreous.runs.store import RunFolder

SMALL = ModelConfig(width=32, heads=2, encoder_depth=1, decoder_depth=1, maps=0)
CONFIG = {
    "output": "a",
    "corpus": "x.npz",
    "model": {"width": 32},
    "step": {"batch_views": 64},
    "train": {"minutes": 5.0, "ema_decay": 0.999},
    "views": {"snr": [0.1, 1.0]},
    "common": {"device": "cpu", "threads": 1, "precision": "32-true"},
}
LEG = Leg(0, 100, 6400, 90.0, "1 thread of a processor", "2026-01-01T00:00:00+00:00", "minutes")
STATE = {"module.w": torch.arange(6.0)}


def manifest(config=CONFIG, sha256="a"):
    return Manifest("pretrain", ["vitreous"], config, inputs=(InputFile("x.npz", 1, "", sha256, "whole file"),))


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", manifest())


def trained(folder, steps, batch_views=64, model=SMALL, start=None):
    """Take up, train for so many steps, and return what was there before and after."""
    store, history = take_up(folder, start, model, batch_views)
    loaded = store.load()
    first = 0 if loaded is None else loaded[1]["step"]
    store.save(STATE, {"step": first + steps})
    return first, store, history.with_leg(replace(LEG, start_step=first, end_step=first + steps))


def test_a_leg_goes_on_from_the_last_one_and_remembers_it(folder):
    first, _, history = trained(folder, 100)
    assert (first, history.batch_sizes, len(history.legs)) == (0, ((0, 64),), 1)
    folder.write_summary({"legs": list(history.legs)})
    first, _, history = trained(folder, 50)
    assert first == 100
    assert [(leg["start_step"], leg["end_step"]) for leg in history.legs] == [(0, 100), (100, 150)]
    assert history.batch_sizes == ((0, 64),)


def test_batches_of_another_size_count_from_the_step_that_they_begin_at(folder):
    trained(folder, 100, batch_views=64)
    trained(folder, 50, batch_views=512)
    _, _, history = trained(folder, 20, batch_views=512)
    assert history.batch_sizes == ((0, 64), (100, 512))
    trained(folder, 0, batch_views=32)
    assert trained(folder, 1, batch_views=64)[2].batch_sizes == ((0, 64), (100, 512), (170, 64))


def test_shards_carry_state_and_history_to_another_folder(folder, tmp_path):
    _, store, history = trained(folder, 100, batch_views=32)
    export(tmp_path / "shards", store, history)
    other = RunFolder.create(tmp_path / "other", manifest())
    first, store, carried = trained(other, 10, batch_views=64, start=tmp_path / "shards")
    assert first == 100
    assert torch.equal(store.load()[0]["module.w"], STATE["module.w"])
    assert carried.batch_sizes == ((0, 32), (100, 64))
    assert [leg["end_step"] for leg in carried.legs] == [100, 110]
    # a leg that was killed wrote no summary: the earlier ones are known from the checkpoint
    assert [leg["end_step"] for leg in take_up(other, None, SMALL, 64)[1].legs] == [100]


def test_another_network_is_refused_in_one_line(folder, tmp_path):
    _, store, history = trained(folder, 100)
    other = replace(SMALL, decoder_depth=2, group=3)
    line = (
        r"this state is that of another network \(expected --model.group 2, --model.decoder-depth 1, "
        r"found --model.group 3, --model.decoder-depth 2\)"
    )
    with pytest.raises(ConfigError, match=line):
        take_up(folder, None, other, 64)
    export(tmp_path / "shards", store, history)
    with pytest.raises(ConfigError, match="shards: this state is that of another network"):
        take_up(RunFolder.create(tmp_path / "other", manifest()), tmp_path / "shards", other, 64)


def test_options_that_a_network_was_made_before_have_their_defaults(folder):
    store, history = take_up(folder, None, SMALL, 64)
    older = {name: value for name, value in history.network.items() if name != "map_filters"}
    replace(store, identity=History(older, ((0, 64),)).plain()).save(STATE, {"step": 3})
    assert take_up(folder, None, SMALL, 64)[0].load()[1]["step"] == 3


def test_an_export_of_something_else_is_refused(folder, tmp_path):
    export_shards(tmp_path / "shards", STATE, {"step": 3})
    with pytest.raises(InputError, match="no pose network"):
        take_up(folder, tmp_path / "shards", SMALL, 64)


def test_a_network_too_large_for_shards_is_refused_before_training(tmp_path):
    refuse_shards(tmp_path / "shards", SMALL, tmp_path)
    refuse_shards(tmp_path / "run" / "shards", SMALL, tmp_path / "run")
    with pytest.raises(ConfigError, match="too large"):
        refuse_shards(tmp_path / "shards", ModelConfig(width=512, heads=8), tmp_path)


def test_differing_options_are_named_and_what_legs_are_free_in_is_not():
    free = CONFIG | {"output": "b", "train": {"minutes": 9.0, "ema_decay": 0.999}, "new": 1, "corpus": "/moved/x.npz"}
    assert changes(manifest(), manifest(free), FREE_OPTIONS) == []
    other = CONFIG | {"step": {"batch_views": 128}, "views": {"snr": [0.1, 2.0]}}
    other["common"] = CONFIG["common"] | {"precision": "bf16-mixed"}
    assert changes(manifest(), manifest(other, sha256="b"), FREE_OPTIONS) == [
        "--batch-views (64, now 128)",
        "--views.snr",
        "--precision (32-true, now bf16-mixed)",
        "what is in x.npz",
    ]


def test_minutes_are_added_up_by_hardware():
    legs = [{"hardware": "A", "seconds": 600.0}, {"hardware": "B", "seconds": 90.0}, {"hardware": "A", "seconds": 60.0}]
    assert hardware_of(legs) == "A, 11 min; B, 2 min"
