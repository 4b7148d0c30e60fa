"""PSNR on the device equals that of the decoded mips as pictures."""

from __future__ import annotations

import pytest

from configs import PRESETS, config_from_dict
from dataset import load_texture_set
from reporting.metrics import material_psnr
from tests.helpers import make_material
from training import evaluate
from training.session import open_session


@pytest.mark.parametrize("block", [1 << 24, 100])
@pytest.mark.parametrize("preset, width, height", [("ue5", 64, 64), ("quality", 48, 20)])
def test_psnr_on_the_device_is_that_of_the_pictures(preset, width, height, block, tmp_path, monkeypatch):
    monkeypatch.setattr("training.evaluate.BLOCK_VALUES", block)
    texture_set = load_texture_set(make_material(tmp_path / "wall", width, height))
    config = config_from_dict(PRESETS[preset])
    config.train.device = "cpu"
    session = open_session(config, texture_set)
    arguments = session.texture, session.sampler, texture_set.present, True
    found = evaluate.evaluate_psnr(*arguments)
    assert len(found) == len(texture_set.mips) and list(found[0]) == ["overall", "diffuse", "normal", "roughness"]
    for mip, values in enumerate(found):
        decoded = evaluate.decode_mip(session.texture, mip, True)
        assert values == pytest.approx(material_psnr(texture_set.mips[mip], decoded, texture_set.present), rel=1e-9)
    assert evaluate.evaluate_psnr(*arguments, n_mips=1) == found[:1]
