"""Points attend to queries as the equations say, and queries to the deformation."""

import math

import torch

from vitreous.methods.cryoformer.config import CryoFormerConfig
from vitreous.methods.cryoformer.decoders import AttendingPoints, StructureQueries

CONFIG = CryoFormerConfig(queries=5, channels=8, features=6)
DIMS = 3


def made() -> tuple[AttendingPoints, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return AttendingPoints(DIMS, 1, CONFIG), torch.randn(2, 7, 6), torch.randn(2, DIMS)


def test_the_number_at_a_point_is_read_out_of_what_it_gathers() -> None:
    decoder, features, z = made()
    queries = torch.nn.functional.layer_norm(decoder.queries(z), (8,))
    keys, values = (queries @ decoder.key_value.weight.T + decoder.key_value.bias).split(8, -1)
    found = decoder(features, z)
    for image in range(2):
        for point in range(7):
            asked, own = (decoder.point.weight @ features[image, point] + decoder.point.bias).split(8)
            weights = torch.softmax(keys[image] @ asked / math.sqrt(8), 0)
            hidden = torch.relu(own + weights @ values[image])
            expected = decoder.readout.weight @ hidden + decoder.readout.bias
            torch.testing.assert_close(found[image, point], expected)
            torch.testing.assert_close(decoder.attention(features, z)[image, point], weights)


def test_queries_have_no_order() -> None:
    decoder, features, z = made()
    before = decoder(features, z)
    order = torch.tensor([3, 0, 4, 1, 2])
    decoder.queries.prototypes.data = decoder.queries.prototypes.data[order]
    torch.testing.assert_close(decoder(features, z), before)


def test_a_query_knows_the_deformation_and_the_other_queries() -> None:
    torch.manual_seed(0)
    queries, z = StructureQueries(DIMS, CONFIG), torch.randn(1, DIMS)
    before = queries(z).detach()
    assert float((queries(z + 1).detach() - before).abs().min(-1).values.min()) > 0
    queries.prototypes.data[0] += 1
    assert float((queries(z).detach() - before)[0, 1:].abs().max(-1).values.min()) > 0
