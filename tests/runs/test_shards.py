"""Exported states come back whole, fit their limits and train on; damaged or oversized ones are refused by name."""

import json

import pytest
import torch
from torch import nn

from vitreous.errors import ConfigError, InputError, ResourceError
from vitreous.runs.checkpoint import Checkpointer
from vitreous.runs.compact import RESTARTED
from vitreous.runs.shards import INDEX, ShardOptions, export_shards, import_shards, refuse_export
from vitreous.train.state import TrainState

EXACT = ShardOptions(moments="float32", max_shard_bytes=4096)
RATE = 2e-3


@pytest.fixture
def tensors(generator):
    return {
        "module.weight": torch.randn(50, 60, generator=generator),
        "module.tied": torch.zeros(3, 4).T,
        "module.count": torch.tensor(7),
        "module.empty": torch.empty(0, 3),
        "module.mask": torch.rand(5000, generator=generator) > 0.5,
        "average.weight": torch.randn(50, 60, generator=generator),
        "average.count": torch.tensor(7),
        "optimizer.0.step": torch.tensor(12.0),
        "optimizer.0.exp_avg": torch.randn(50, 60, generator=generator),
        "optimizer.0.exp_avg_sq": 10 * torch.rand(50, 60, generator=generator),
        "optimizer.1.momentum_buffer": torch.randn(4, 3, generator=generator),
        "optimizer.2.exp_avg": torch.randn(4, 3, generator=generator).bfloat16(),
        "optimizer.2.exp_avg_sq": torch.rand(4, 3, generator=generator).bfloat16(),
    }


VALUES = {"step": 12, "rate": 0.1 + 0.2, "optimizer": {"state": {"0": {}}, "param_groups": [{"lr": 1e-300}]}, "ä": None}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("max_shard_bytes", [1500, 4096, 1 << 20])
def test_exact_state_comes_back_bit_by_bit(tmp_path, tensors, max_shard_bytes):
    options = ShardOptions(moments="float32", max_shard_bytes=max_shard_bytes)
    size = export_shards(tmp_path / "state", tensors, VALUES, options)
    found, values = import_shards(tmp_path / "state")
    assert_same(found, tensors)
    assert values == VALUES
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "state").iterdir()}
    assert size == sum(sizes.values())
    shards = [bytes_ for name, bytes_ in sizes.items() if name != INDEX]
    assert max(shards) <= max_shard_bytes
    # One that fills its shards needs no more of them than its bytes and headers ask for.
    assert len(shards) <= 1 + sum(t.nbytes + 200 for t in tensors.values()) / (max_shard_bytes - 200)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_only_adams_moments_and_the_average_are_rounded(tmp_path, tensors):
    export_shards(tmp_path / "state", tensors, VALUES, ShardOptions(average="float16"))
    found, values = import_shards(tmp_path / "state")
    rounded = {"average.weight", "optimizer.0.exp_avg", "optimizer.0.exp_avg_sq"}
    assert found.keys() == tensors.keys()
    assert_same({n: t for n, t in found.items() if n not in rounded}, {n: tensors[n] for n in tensors.keys() - rounded})
    assert values == VALUES
    half_step = 2.0**-11
    torch.testing.assert_close(found["average.weight"], tensors["average.weight"], rtol=half_step, atol=1e-7)
    assert not torch.equal(found["average.weight"], tensors["average.weight"])
    steps = [t["optimizer.0.exp_avg"] / t["optimizer.0.exp_avg_sq"].sqrt() for t in (found, tensors)]
    assert (steps[0] - steps[1]).abs().max() <= 1.001 * steps[1].abs().max() / 254


def test_imported_state_is_a_checkpoint(tmp_path, tensors):
    export_shards(tmp_path / "state", tensors, VALUES, EXACT)
    store = Checkpointer(tmp_path / "checkpoint.safetensors", {})
    store.save(*import_shards(tmp_path / "state"))
    found, values = store.load()
    assert_same(found, tensors)
    assert values == VALUES


def state_of(parameters):
    state = {f"{prefix}w": torch.ones(parameters) for prefix in ("module.", "average.")}
    return state | {f"optimizer.0.{name}": torch.ones(parameters) for name in ("exp_avg", "exp_avg_sq")}


@pytest.mark.parametrize(
    ("millions", "average", "moments"),
    [(6, torch.float32, True), (7.7, torch.bfloat16, True), (10, torch.bfloat16, False)],
)
def test_an_export_without_options_gives_up_no_more_than_it_must(tmp_path, millions, average, moments):
    """Sixty MiB in shards of fifteen: parameters, their average, moments, at 10.05, 8.05 and 6 bytes each."""
    parameters = int(millions * 1e6)
    values = {"step": 5, "optimizer": {"state": {"0": {}}}}
    size = export_shards(tmp_path / "state", state_of(parameters), values)
    bytes_each = 4 + average.itemsize + 2.05 * moments
    assert size == pytest.approx(bytes_each * parameters, rel=0.01)
    assert size <= 60 * 2**20
    assert max(path.stat().st_size for path in (tmp_path / "state").iterdir()) <= 15 * 2**20
    found, back = import_shards(tmp_path / "state")
    assert ("optimizer.0.exp_avg" in found, RESTARTED in back) == (moments, not moments)


def test_what_could_not_be_exported_is_refused_before_training(tmp_path):
    refuse_export(tmp_path / "state", 10_000_000)
    with pytest.raises(ConfigError, match=r"at most 60.0 MiB, found 62.9 MiB.*smaller network"):
        refuse_export(tmp_path / "state", 11_000_000)
    with pytest.raises(InputError, match="no such folder"):
        refuse_export(tmp_path / "nowhere" / "state", 10)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="no earlier export"):
        refuse_export(tmp_path, 10)


class Training:
    """Regression whose inputs differ in scale by a thousand, so that the moments of neighbours do too."""

    def __init__(self):
        torch.manual_seed(0)
        self.teacher = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 4)).requires_grad_(False)
        module = nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 4))
        optimizer = torch.optim.AdamW(module.parameters(), lr=RATE)
        self.state = TrainState(module, optimizer, None, {n: v.clone() for n, v in module.state_dict().items()})

    def go(self, steps, warm_up=0):
        losses = []
        for number in range(steps):
            generator = torch.Generator().manual_seed(self.state.step)
            x = torch.randn(64, 16, generator=generator)
            y = self.teacher(2 * x) + 0.1 * torch.randn(64, 4, generator=generator)
            self.state.optimizer.param_groups[0]["lr"] = RATE * min(1, (number + 1) / (warm_up + 1))
            loss = (self.state.module(x * torch.logspace(0, -3, 16)) - y).square().mean()
            self.state.optimizer.zero_grad()
            loss.backward()
            self.state.optimizer.step()
            self.state.update_average(0.99)
            self.state.step += 1
            losses.append(loss.item())
        return torch.tensor(losses)

    def parameters(self):
        return torch.cat([p.detach().flatten() for p in self.state.module.parameters()])


@pytest.fixture(scope="module")
def trained():
    training = Training()
    training.go(600)
    return training.state.pack()


def continued(state):
    training = Training()
    tensors, values = state
    training.state.unpack({name: tensor.clone() for name, tensor in tensors.items()}, values)
    return training


@pytest.fixture
def through_shards(trained, tmp_path):
    def carry(options):
        export_shards(tmp_path / "state", *trained, options)
        return continued(import_shards(tmp_path / "state"))

    return carry


def test_training_goes_on_from_coded_moments_as_from_exact_ones(trained, through_shards):
    exact, coded = continued(trained), through_shards(ShardOptions(average="bfloat16"))
    start = exact.parameters()
    assert torch.equal(coded.parameters(), start)
    exact.go(5)
    coded.go(5)
    travelled = (exact.parameters() - start).norm()
    assert (coded.parameters() - exact.parameters()).norm() < 0.01 * travelled
    losses, expected = coded.go(200), exact.go(200)
    assert (losses - expected).abs().max() < 0.002 * expected.mean()
    assert coded.state.step == exact.state.step == 805


def test_training_without_moments_needs_a_warm_up(trained, through_shards):
    """A fresh Adam at the full rate throws the parameters off; warmed up it does not."""
    cold, warm = (through_shards(ShardOptions(moments="none")) for _ in range(2))
    assert warm.state.optimizer.state_dict()["state"] == {}
    exact = continued(trained).go(30)
    excess = {"cold": cold.go(30) - exact, "warm": warm.go(30, warm_up=100) - exact}
    assert excess["cold"].max() > 0.15 * exact.mean()
    assert excess["warm"].max() < 0.5 * excess["cold"].max()


def test_left_out_moments_are_told(tmp_path, tensors):
    export_shards(tmp_path / "state", tensors, VALUES, ShardOptions(moments="none"))
    found, values = import_shards(tmp_path / "state")
    assert_same(found, {name: tensor for name, tensor in tensors.items() if not name.startswith("optimizer.")})
    assert values[RESTARTED] == 12
    assert values["optimizer"] == VALUES["optimizer"] | {"state": {}}


def edit_index(folder, **changes):
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(index | changes))


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "shard-002.safetensors").unlink(), r"shard-002\.safetensors: a shard is missing.*Copy all"),
        (lambda f: flip_a_bit(f / "shard-003.safetensors"), r"shard-003\.safetensors: .*wrong sha256.*Copy it again"),
        (lambda f: (f / "shard-001.safetensors").write_bytes(b""), r"shard-001.*wrong sha256"),
        (lambda f: edit_index(f, version=2), r"version .*expected 1, found 2.*newer"),
        (lambda f: edit_index(f, format="other"), "not an exported training state"),
        (lambda f: (f / INDEX).write_text("{"), "index is damaged"),
        (lambda f: (f / INDEX).write_text("[]"), "not an exported training state"),
        (lambda f: edit_index(f, tensors={"module.a": {"shape": [2], "dtype": "float32", "shards": [99]}}), "damaged"),
        (lambda f: edit_index(f, tensors={"module.a": {"shape": [2]}}), "index is damaged"),
        (lambda f: edit_index(f, shards=[]), "index is damaged"),
        (lambda f: (f / INDEX).unlink(), r"index\.json: file not found"),
    ],
)
def test_damage_is_refused_by_name(tmp_path, tensors, damage, message):
    export_shards(tmp_path / "state", tensors, VALUES, EXACT)
    damage(tmp_path / "state")
    with pytest.raises(InputError, match=message):
        import_shards(tmp_path / "state")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ShardOptions(max_shard_bytes=100), "no tensor fits in 100 bytes.*max_shard_bytes"),
        (ShardOptions(max_total_bytes=10_000), "at most 0.0 MiB.*Leave the moments out.*bfloat16.*max_total_bytes"),
        (
            ShardOptions("none", "float16", max_total_bytes=10_000),
            r"MiB\)\. Use a smaller network or raise max_total_bytes\.$",
        ),
    ],
)
def test_limits_that_are_too_small_are_refused(tmp_path, tensors, options, message):
    with pytest.raises(ConfigError, match=message):
        export_shards(tmp_path / "state", tensors, VALUES, options)
    assert list(tmp_path.iterdir()) == []


def test_average_beyond_half_precision_is_refused(tmp_path):
    state = {"average.w": torch.tensor([1e5])}
    with pytest.raises(ConfigError, match=r"average\.w holds values beyond float16.*bfloat16"):
        export_shards(tmp_path / "state", state, {}, ShardOptions(average="float16"))
    export_shards(tmp_path / "state", state, {}, ShardOptions(average="bfloat16"))
    found, _ = import_shards(tmp_path / "state")
    torch.testing.assert_close(found["average.w"], state["average.w"], rtol=2**-8, atol=0)


def test_failed_export_keeps_the_earlier_one(tmp_path, tensors, monkeypatch):
    folder = tmp_path / "state"
    export_shards(folder, {"module.a": torch.ones(1)}, {"step": 1})
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_bytes", full)
        with pytest.raises(ResourceError, match="disk is full"):
            export_shards(folder, tensors, VALUES)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    export_shards(folder, tensors, {"step": 2}, EXACT)
    assert import_shards(folder)[1]["step"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"no earlier export.*new folder"):
        export_shards(tmp_path, {}, {})
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(ResourceError, match="folder does not exist"):
        export_shards(tmp_path / "nowhere" / "state", {}, {})
