"""A time budget is that of the whole command; every run ends with an evaluation and says where its time went."""

from __future__ import annotations

import re
import time

import pytest

from configs import PRESETS, compares_with_astc, config_from_dict
from dataset import load_texture_set
from tests.helpers import make_material, run_folder
from training.checkpoint import load_checkpoint
from training.evaluate import evaluate_psnr
from training.finish import COMPARISON
from training.progress import psnr_of_part
from training.run import SEARCH, planned_schedule, train
from training.session import open_session
from training.time_budget import LEAST_SHARE, finish_estimate_s, training_seconds
from utils.clock import Stopwatch

PHASES = ("start-up", "training", "evaluation", "export", "figures and report")


def settings(workspace, out, budget_s=2.0, preset="fast"):
    config = config_from_dict(PRESETS[preset])
    config.run.data_dir, config.run.save_dir = str(workspace / "data" / "test"), str(out)
    config.train.batch_size, config.train.device, config.train.time_budget = 1024, "cpu", budget_s
    return config


def test_a_run_over_a_time_budget_ends_with_an_evaluation_and_says_how_its_time_was_spent(workspace, tmp_path, capsys):
    folder = train(settings(workspace, tmp_path, 4.0))
    saved = load_checkpoint(folder / "model.pth")
    assert saved.history[-1]["iteration"] == saved.iteration == int(folder.name.rpartition("_")[2])
    line = re.search(r"^time: +([\d.]+) s: (.*)$", capsys.readouterr().out, re.M)
    spent = {phase: float(seconds) for phase, seconds in re.findall(r"([a-z -]+) ([\d.]+) s(?:, |$)", line[2])}
    assert set(PHASES) <= set(spent) and COMPARISON not in spent
    assert sum(spent.values()) == pytest.approx(float(line[1]), abs=0.05 * len(spent) + 0.06)
    assert spent["training"] + spent["evaluation"] == pytest.approx(saved.schedule["position"], abs=1.0)


def test_what_the_start_took_and_the_end_will_take_is_left_out_of_the_training(workspace, tmp_path):
    config = settings(workspace, tmp_path, 100.0)
    session = open_session(config, load_texture_set(config.run.data_dir))
    watch = Stopwatch("start-up", time.perf_counter() - 30)
    schedule, notes = planned_schedule(session, watch, None, None)
    assert (schedule.unit, schedule.start, notes) == ("seconds", 0, []) and 50 < schedule.end < 70
    # Trials come on top.
    watch = Stopwatch(SEARCH, time.perf_counter() - 50)
    watch.enter("start-up")
    assert planned_schedule(session, watch, None, None)[0].end > 80


def test_a_budget_that_the_start_has_used_up_still_trains_and_says_so(workspace, tmp_path, capsys):
    folder = train(settings(workspace, tmp_path, 2.0), started=time.perf_counter() - 100)
    out = capsys.readouterr().out
    assert re.search(r"time budget: +2 s are short for this material: the start took 10\d", out)
    assert load_checkpoint(folder / "model.pth").schedule["end"] == LEAST_SHARE * 2


def test_a_longer_end_leaves_less_for_the_training():
    assert training_seconds(60, 3, 5) == (52, None)
    seconds, note = training_seconds(10, 3, 6)
    assert seconds == 10 * LEAST_SHARE and "about 6.0 s" in note


def test_a_larger_material_leaves_less_time_for_the_training(workspace, tmp_path):
    config, estimates = settings(workspace, tmp_path), []
    for side in (8, 64, 1024):
        make_material(tmp_path / str(side), side, side)
        session = open_session(config, load_texture_set(tmp_path / str(side)))
        estimates.append(finish_estimate_s(session, 1e-6))
    assert estimates[0] < estimates[1] < estimates[2] and estimates[2] > 2 * estimates[0]
    config.export.report = False
    assert finish_estimate_s(session, 1e-6) < estimates[2]


def test_astc_beside_a_run_on_the_clock_is_measured_where_it_is_asked_for_and_its_time_left_out(workspace, tmp_path):
    config = settings(workspace, tmp_path)
    make_material(tmp_path / "wall", 512, 512)
    session = open_session(config, load_texture_set(tmp_path / "wall"))
    without = finish_estimate_s(session, 1e-6)
    config.given = frozenset({"compare_astc"})
    assert compares_with_astc(config) and finish_estimate_s(session, 1e-6) > without + 1
    config.export.compare_astc = False
    assert not compares_with_astc(config)
    config.export.compare_astc, config.given, config.train.time_budget = True, frozenset(), None
    assert compares_with_astc(config)
    config.run.groups_batching = True
    assert not compares_with_astc(config)


def test_a_resumed_run_gets_what_its_checkpoint_left_of_the_budget(workspace, tmp_path, call):
    folder = train(settings(workspace, tmp_path, 2.0))
    saved = load_checkpoint(folder / "model.pth")
    code, _, err = call("--load_dir", folder.parent.parent, "--load_iter", -1)
    assert code == 2 and "raise --time_budget" in err
    code, out, err = call(
        "--load_dir", folder.parent.parent, "--load_iter", -1, "--time_budget", 6, "--save_dir", tmp_path / "on"
    )
    assert (code, err) == (0, "") and "schedule:" in out
    after = load_checkpoint(next(run_folder(tmp_path / "on").glob("models/*/model.pth")))
    assert after.schedule["start"] == saved.schedule["position"] and after.iteration > saved.iteration


@pytest.mark.parametrize("preset", ["ue5", "quality"])
def test_the_first_look_at_a_part_is_near_the_evaluation(preset, workspace, tmp_path):
    config = settings(workspace, tmp_path, 0.0, preset)
    texture_set = load_texture_set(config.run.data_dir)
    session = open_session(config, texture_set)
    step = session.training_step()
    for _ in range(30):
        step(session.sampler.draw(), session.noise(0.5), 0.5)
    whole = evaluate_psnr(session.texture, session.sampler, texture_set.present, True, 1)[0]["overall"]
    assert psnr_of_part(session) == pytest.approx(whole, abs=1.0)
