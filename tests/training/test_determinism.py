"""What `--deterministic` refuses and sets; that bytes are equal is tests/benchmarks/test_reliability_trust.py."""

from __future__ import annotations

import os

import pytest
import torch

from tests.helpers import SHORT, assert_one_line
from training import flags as cli
from training.determinism import WORKSPACE_VARIABLE, repeatable, repeatable_backends
from utils.errors import UsageError


def test_a_time_budget_is_refused_by_both_names_and_max_iter_takes_its_place():
    with pytest.raises(UsageError, match="deterministic excludes time_budget 18.*--max_iter"):
        cli.make_config({"preset": "fast", "deterministic": True})
    config = cli.make_config({"preset": "fast", "deterministic": True, "max_iter": 100})
    assert config.train.deterministic and config.train.time_budget is None


def test_backends_that_do_not_repeat_are_refused_and_no_clock_chooses():
    cpu = torch.device("cpu")
    assert repeatable_backends(["torch"], cpu) == (["torch"], "")
    names, line = repeatable_backends(["torch", "tcnn"], torch.device("cuda"))
    assert names == ["torch"] and "--deterministic" in line
    with pytest.raises(UsageError, match="excludes backend tcnn.*--backend torch"):
        repeatable_backends(["tcnn"], torch.device("cuda"))
    with pytest.raises(UsageError, match="--device cpu"):
        repeatable_backends(["torch"], torch.device("mps"))


@pytest.mark.parametrize("workspace_setting", [None, "", ":16:8"])
def test_pytorchs_settings_are_those_from_before_afterwards(workspace_setting, monkeypatch):
    monkeypatch.delenv(WORKSPACE_VARIABLE, raising=False)
    if workspace_setting is not None:
        monkeypatch.setenv(WORKSPACE_VARIABLE, workspace_setting)
    with pytest.raises(ZeroDivisionError), repeatable(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ[WORKSPACE_VARIABLE] == (workspace_setting or ":4096:8")
        raise ZeroDivisionError
    assert not torch.are_deterministic_algorithms_enabled()
    assert os.environ.get(WORKSPACE_VARIABLE) == workspace_setting
    with repeatable(False):
        assert not torch.are_deterministic_algorithms_enabled()


def test_a_run_says_on_how_many_threads_it_repeats_and_a_resumed_one_keeps_the_promise(call, workspace, tmp_path):
    code, out, err = call(
        *("--data_dir", workspace / "data" / "test", "--save_dir", tmp_path / "out"),
        *(*SHORT, "--max_iter", 20, "--deterministic", "--no-report"),
    )
    assert (code, err) == (0, "")
    assert (
        f"deterministic:         the same bytes again on this machine, with as many threads: {torch.get_num_threads()}"
        in out
    )
    (run,) = (path for path in (tmp_path / "out").iterdir() if path.name != "tensorboard")
    code, _, err = call("--load_dir", run, "--time_budget", 5, "--save_dir", tmp_path / "more")
    assert code == 2
    assert_one_line(err, "deterministic", "time_budget")
