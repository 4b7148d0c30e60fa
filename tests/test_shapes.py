"""The shapes in type hints are true: they are checked while a batch is decoded, and others are refused."""

from __future__ import annotations

import pytest
import torch

from model.decoder import canonical
from model.decoder.decoder import Decoder
from model.grids.feature_grids import Features
from model.grids.lookup import lookups_to_device
from model.texture import NeuralTexture
from tests.model.plain_rendering import CASES, make_texture, sample_groups
from tests.shapes import checked
from training import loss


@pytest.mark.parametrize("name", ["gather", "first layer by place", "missing maps", "no hidden layer"])
def test_the_shapes_that_are_declared_are_those_that_come(name):
    texture, flat = make_texture(**CASES[name])
    lookups = lookups_to_device(texture.planner.look_up(sample_groups(texture.layout)), texture.device)
    features = texture.grids(lookups, True)
    dense = checked(Features.dense)(features)
    assert dense.shape[1] == texture.layout.n_inputs
    values = checked(Decoder.forward)(texture.decoder, features)
    decoded = checked(NeuralTexture.decode)(texture, 0)
    assert decoded.shape[2] == values.shape[1]
    checked(canonical.load_canonical_weights)(texture.decoder, checked(canonical.canonical_weights)(texture.decoder))
    target = torch.zeros(values.shape, dtype=torch.uint8)
    checked(loss.texture_loss)(values, target, False, torch.ones(values.shape[1]), torch.ones(len(values), 1))
    checked(loss.to_file_coding)(values, False)


def test_other_shapes_and_types_than_the_declared_ones_are_refused():
    values, target = torch.zeros(4, 3), torch.zeros(4, 3, dtype=torch.uint8)
    wrong = [
        (values[:3], target, False, None, None),
        (values, target[:, :2], False, None, None),
        (values.int(), target, False, None, None),
        (values, target, False, torch.ones(4), None),
        (values, target, False, None, torch.ones(3, 1)),
        (values, target, False, None, torch.ones(4, 2)),
    ]
    checked(loss.texture_loss)(values, target, False, torch.ones(3), torch.ones(4, 1))
    for arguments in wrong:
        with pytest.raises(TypeError):
            checked(loss.texture_loss)(*arguments)
