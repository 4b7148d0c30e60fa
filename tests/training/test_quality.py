"""Each preset reaches its PSNR on the sample at fixed steps and seed: what a change costs in quality shows here."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs import PRESETS
from dataset import load_texture_set
from training.evaluate import evaluate_psnr
from training.flags import make_config
from training.schedule import rate_factor
from training.session import open_session, planned_config

SAMPLE = Path(__file__).parents[2] / "data" / "test"
STEPS = 250
PSNR_DB = {"ue5": 22.05, "quality": 32.7, "realtime": 31.2, "fast": 32.7, "mobile": 28.4}
"""Overall PSNR of the finest mip at 256 x 256, dB, and to what it may differ: other processors sum in another order."""
TOLERANCE_DB = 0.3


def reached(preset: str) -> float:
    texture_set = load_texture_set(SAMPLE, max_size=256)
    flags = {"preset": preset, "device": "cpu", "precision": "float32", "batch_size": 8192, "seed": 0}
    session = open_session(planned_config(make_config(flags), texture_set), texture_set)
    step, train = session.training_step(), session.config.train
    for done in range(STEPS):
        rate = rate_factor(done / STEPS, train.learning_rate_final, train.learning_rate_schedule)
        step(session.sampler.draw(), session.noise(done / STEPS), rate)
    return evaluate_psnr(session.texture, session.sampler, texture_set.present, True, 1)[0]["overall"]


def test_every_preset_is_pinned():
    assert PSNR_DB.keys() == PRESETS.keys()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_reaches_its_quality_on_the_sample(preset):
    assert reached(preset) == pytest.approx(PSNR_DB[preset], abs=TOLERANCE_DB)
