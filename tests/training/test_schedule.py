"""How rates and noise fall, go on where a run is resumed, and begin anew beyond its old end."""

from __future__ import annotations

import dataclasses
import math
import re
import shutil

import pytest

from configs import TrainConfig
from tests.helpers import make_material, run_folder
from training.checkpoint import load_checkpoint
from training.schedule import RESTART_RATE, new_schedule, plain_values, rate_factor, resumed_schedule


def test_the_schedules_fall_to_their_final_share():
    falls = [rate_factor(fraction, 0.1) for fraction in (0, 0.5, 0.75, 1, 1.01)]
    assert falls == pytest.approx([1, 0.1 + 0.9 * 0.574349, 0.1 + 0.9 * 0.329877, 0.1, 0.1], rel=1e-5)
    values = [rate_factor(fraction, 0.1, "cosine") for fraction in (0, 0.25, 0.5, 0.75, 1)]
    assert values == pytest.approx([1, 0.55 + 0.45 * math.sqrt(0.5), 0.55, 0.55 - 0.45 * math.sqrt(0.5), 0.1])
    assert [rate_factor(fraction, 0.1, first=0.3) for fraction in (0, 1)] == pytest.approx([0.3, 0.1])


@pytest.fixture
def at(finished):
    """The shared run's checkpoint as if saved at an iteration of a run to 100."""
    saved = load_checkpoint(finished[1] / "models" / "train_result_20" / "model.pth")

    def checkpoint(iteration, train=TrainConfig(max_iter=100), training_time_s=5.0):
        schedule = new_schedule(train, 50.0)
        schedule.position = training_time_s if train.time_budget else iteration
        return dataclasses.replace(
            saved, iteration=iteration, training_time_s=training_time_s, schedule=plain_values(schedule)
        )

    return checkpoint


BEFORE = TrainConfig(max_iter=100)


def test_the_same_end_goes_on_with_the_same_schedule(at):
    schedule, note = resumed_schedule(at(40), BEFORE, BEFORE, 0.8, 0.0)
    assert note is None and (schedule.start, schedule.end, schedule.position) == (0, 100, 40)
    assert schedule.rates(BEFORE) == rate_factor(0.4, 0.01) and schedule.noise_fraction(0.8) == 0.4


def test_a_finished_run_begins_again_at_a_moderate_rate_and_without_noise(at):
    now = TrainConfig(max_iter=300)
    schedule, note = resumed_schedule(at(100), BEFORE, now, 0.8, 0.0)
    assert (schedule.start, schedule.end) == (100, 300)
    assert schedule.rates(now) == RESTART_RATE and schedule.noise_left(0.8) == 0
    assert "iterations 100 to 300" in note and f"from {RESTART_RATE:g} " in note and "0.01" in note
    schedule.position = 300
    assert schedule.fraction == 1 and schedule.rates(now) == pytest.approx(0.01)


@pytest.mark.parametrize("end", [60, 200])
def test_another_end_goes_on_from_where_rates_and_noise_stand(end, at):
    now = TrainConfig(max_iter=end)
    schedule, note = resumed_schedule(at(40), BEFORE, now, 0.8, 0.0)
    assert schedule.rates(now) == pytest.approx(rate_factor(0.4, 0.01)) and schedule.noise_left(0.8) == pytest.approx(
        0.5
    )
    assert f"iterations 40 to {end}" in note and "noise from 0.5" in note
    schedule.position = 40 + 0.8 * (end - 40)
    assert schedule.noise_left(0.8) == pytest.approx(0, abs=1e-9)


def test_rates_are_not_raised_where_the_end_comes_earlier(at):
    schedule, _ = resumed_schedule(at(90), BEFORE, TrainConfig(max_iter=95), 0.8, 0.0)
    assert schedule.rates(BEFORE) == pytest.approx(rate_factor(0.9, 0.01)) and schedule.rate < RESTART_RATE


def test_time_budgets_go_on_or_begin_anew_too(at):
    before = TrainConfig(time_budget=60)
    saved = at(40, before)
    schedule, note = resumed_schedule(saved, before, before, 0.8, 7.0)
    assert note is None and (schedule.position, schedule.end) == (5, 50)
    schedule, note = resumed_schedule(saved, before, TrainConfig(time_budget=200), 0.8, 150.0)
    assert (schedule.unit, schedule.start, schedule.end) == ("seconds", 5, 155) and "over 150 s" in note
    assert "the run was to end at 60 s:" in note
    schedule, _ = resumed_schedule(saved, before, TrainConfig(max_iter=200), 0.8, 0.0)
    assert (schedule.unit, schedule.start, schedule.end) == ("iterations", 40, 200)
    schedule, _ = resumed_schedule(at(40), BEFORE, before, 0.8, 30.0)
    assert (schedule.unit, schedule.start, schedule.end) == ("seconds", 5, 35)


def test_going_on_beyond_the_end_is_said_and_stored(finished, workspace, call, tmp_path):
    code, out, err = call(
        "--load_dir",
        finished[1],
        "--load_iter",
        -1,
        "--data_dir",
        workspace / "data" / "test",
        "--save_dir",
        tmp_path,
        "--max_iter",
        60,
    )
    assert (code, err) == (0, "")
    assert re.search(r"^schedule: +a new one over iterations 40 to 60, .* without noise", out, re.M)
    saved = load_checkpoint(run_folder(tmp_path) / "models" / "train_result_60" / "model.pth")
    assert saved.schedule == {
        "unit": "iterations",
        "start": 40,
        "end": 60,
        "position": 60,
        "rate": RESTART_RATE,
        "noise": 0.0,
    }
    before, after = saved.history[-3]["psnr_db"], saved.history[-1]["psnr_db"]
    assert [entry["iteration"] for entry in saved.history[-3:]] == [40, 50, 60] and after > before


def test_images_of_equal_size_that_are_not_those_of_the_checkpoint_are_said(finished, workspace, call, tmp_path):
    other, run = make_material(tmp_path / "other", constant=True), tmp_path / "run"
    shutil.copytree(finished[1] / "models", run / "models")
    for mode in ("train", "infer"):
        code, out, err = call(
            "--mode", mode, "--load_dir", run, "--load_iter", 20, "--save_dir", tmp_path / "out", "--data_dir", other
        )
        assert (code, err) == (0, "") and re.search(r"^note: +the images of other are not those", out, re.M)
    code, out, _ = call(
        "--mode", "infer", "--load_dir", run, "--load_iter", 20, "--data_dir", workspace / "data" / "test"
    )
    assert code == 0 and "are not those" not in out
