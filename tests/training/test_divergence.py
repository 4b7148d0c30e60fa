"""What counts as a training that has diverged, and which state it goes back to."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from configs import Config
from dataset import load_texture_set
from reporting.metrics import psnr_of_mse
from training.divergence import COLLAPSE_DB, LOST_DB, Diverged, LastGood, mean_colour_psnr, require_finite
from training.schedule import new_schedule
from training.session import open_session
from utils.errors import UserError


@pytest.fixture
def session(workspace):
    config = Config()
    config.train.device, config.train.batch_size = "cpu", 1024
    return open_session(config, load_texture_set(workspace / "data" / "test"))


@pytest.fixture
def schedule(session):
    return new_schedule(session.config.train)


def test_the_mean_colours_are_the_best_constant(session):
    finest = session.texture_set.mips[0][..., session.channels].astype(np.float64)
    assert mean_colour_psnr(session) == pytest.approx(psnr_of_mse(finest.reshape(-1, finest.shape[2]).var(0).mean()))


def test_ten_times_the_error_of_the_best_evaluation_is_a_collapse_and_less_is_not(session, schedule):
    good = LastGood(session, schedule)
    good.judge(35.0, schedule)
    good.judge(35.0 - COLLAPSE_DB + 0.1, schedule)
    with pytest.raises(Diverged, match="PSNR fell from 35.00 dB to 25.00 dB"):
        good.judge(35.0 - COLLAPSE_DB, schedule)


def test_a_smaller_fall_counts_where_the_mean_colours_are_as_good(session, schedule):
    good = LastGood(session, schedule)
    floor_db = good.floor_db
    good.judge(floor_db + 1, schedule)
    good.judge(floor_db - LOST_DB + 1.1, schedule)
    with pytest.raises(Diverged):
        good.judge(floor_db - LOST_DB + 0.9, schedule)


def test_an_exact_evaluation_asks_for_no_more_than_an_error_of_one_step(session, schedule):
    good = LastGood(session, schedule)
    good.judge(math.inf, schedule)
    good.judge(40.0, schedule)
    with pytest.raises(Diverged, match="from identical"):
        good.judge(38.0, schedule)


def test_values_that_no_export_can_store_are_found_wherever_they_are(session):
    require_finite(session)
    table = session.texture.grids.tables[1]
    before = float(table[-1, -1])
    table[-1, -1] = math.inf
    with pytest.raises(Diverged, match="grid 1"):
        require_finite(session)
    table[-1, -1] = before
    matrix = session.texture.decoder.matrices[0]
    with torch.no_grad():
        matrix[0, 0] = 1e6
    require_finite(session)
    object.__setattr__(session.layout, "network_precision", "float16")
    with pytest.raises(Diverged, match="float16 cannot store"):
        require_finite(session)


def test_the_run_goes_back_to_the_last_evaluation_that_was_better_than_the_mean_colours(session, schedule):
    good = LastGood(session, schedule)
    step = session.training_step()

    def train(count):
        for _ in range(count):
            step(session.sampler.draw(), session.noise(0.1), 1.0)
            session.iteration += 1
        schedule.position = session.iteration

    train(3)
    session.history.append({"iteration": 3, "psnr_db": 30.0, "loss": 0.1, "time_s": 1.0})
    good.judge(30.0, schedule)
    kept = [level.clone() for level in session.texture.grids.levels(0)]
    state = {name: tensor.clone() for name, tensor in session.optimizers.state()["grid_0"].items()}
    train(2)
    session.history.append({"iteration": 5, "psnr_db": 5.0, "loss": 9.0, "time_s": 2.0})
    with pytest.raises(Diverged) as error:
        good.judge(5.0, schedule)
    line = good.go_back(schedule, error.value)
    assert "by iteration 5" in line and "state of iteration 3" in line and "--learning_rate (0.03)" in line
    assert (session.iteration, schedule.position, len(session.history), session.sampler.steps) == (3, 3, 1, 3)
    assert all(torch.equal(*levels) for levels in zip(kept, session.texture.grids.levels(0)))
    assert all(torch.equal(state[name], tensor) for name, tensor in session.optimizers.state()["grid_0"].items())


def test_without_a_good_state_the_run_fails_in_one_line(session, schedule):
    good = LastGood(session, schedule)
    good.judge(good.floor_db - 1, schedule)
    with pytest.raises(UserError, match="no state before it was better .*lower --learning_rate"):
        good.go_back(schedule, Diverged("the loss is nan"))
