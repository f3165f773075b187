"""Flexibility and attention maps are what their names say."""

import torch

from vitreous.compute.progress import SilentProgress
from vitreous.methods.cryoformer.config import CryoFormerConfig
from vitreous.methods.cryoformer.fields import ball_of
from vitreous.methods.cryoformer.model import Network, TrainedCryoFormer
from vitreous.methods.cryoformer.motion_maps import motion_maps

BOX, DIMS, QUERIES = 10, 2, 5


def model(**changes: object) -> TrainedCryoFormer:
    torch.manual_seed(0)
    small = {"queries": QUERIES, "channels": 8, "levels": 2, "base": 4, "log2_entries": 10, "encoder_layers": 1}
    config = CryoFormerConfig(**{**small, **changes})
    network = Network(BOX, DIMS, config, 1.7)
    for name, value in network.named_parameters():
        if name.endswith("table"):
            value.data.normal_()
    return TrainedCryoFormer.of(network, config, 3.0)


def test_flexibility_is_the_variance_of_the_maps() -> None:
    made, z = model(), torch.randn(12, DIMS)
    maps, share = motion_maps(made, z, SilentProgress())
    decoded = torch.stack([made.volume(point).values for point in z])
    torch.testing.assert_close(maps["flexibility"].values, decoded.var(0, correction=0), atol=1e-6, rtol=1e-3)
    assert abs(share - float(decoded.var(0, correction=0).sum() / decoded.square().mean(0).sum())) < 1e-4


def test_attention_maps_share_out_the_ball_and_are_ordered_by_what_moves() -> None:
    made, z = model(), torch.randn(12, DIMS)
    maps, _ = motion_maps(made, z, SilentProgress())
    attention = torch.stack([maps[f"attention/query_{number:02d}"].values for number in range(1, QUERIES + 1)])
    ball = ball_of(BOX, made.config.radius, torch.device("cpu"))
    inside = torch.zeros(BOX**3)
    inside[ball.voxels] = 1
    torch.testing.assert_close(attention.sum(0).flatten(), inside)
    densities = torch.stack([made.volume(point).values for point in z])
    gathered, varying = ((attention * each).sum((1, 2, 3)) for each in (densities.mean(0), maps["flexibility"].values))
    moving = varying / gathered
    torch.testing.assert_close(moving, moving.sort(descending=True).values, rtol=1e-4, atol=0)


def test_what_has_no_queries_in_space_has_no_attention_maps() -> None:
    for changes in ({"decoder": "mlp"}, {"domain": "fourier"}):
        assert list(motion_maps(model(**changes), torch.randn(3, DIMS), SilentProgress())[0]) == ["flexibility"]
