"""Short versions of what the reliability benchmark measures of trainings: kills, batches, equal bytes, divergence."""

from __future__ import annotations

import sys

import pytest

from benchmarks.reliability.outputs import check_outputs
from benchmarks.reliability.parts import Options, part
from tests.helpers import make_material


def short(name, folder):
    return part(name)(Options(folder, short=True))


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked from one that has loaded PyTorch")
def test_runs_and_batches_go_on_after_kill_9_with_every_file_whole(tmp_path):
    result = short("kills", tmp_path)
    assert result["faults"] == []
    assert sum(row["kills"] for row in result["rows"]) == 4
    assert sum(row["files read"] for row in result["rows"]) > 0


def test_a_file_that_is_cut_short_under_its_final_name_is_found(finished, tmp_path):
    folder = finished[1]
    assert check_outputs(folder).broken == [] and check_outputs(folder).whole > 10
    (tmp_path / "models").mkdir()
    for path in (folder / "models" / "train_result_40").iterdir():
        data = path.read_bytes()
        (tmp_path / "models" / path.name).write_bytes(data[: len(data) - 10])
    (tmp_path / "report.html").write_bytes((folder / "report.html").read_bytes()[:-20])
    names = {line.split(":")[0] for line in check_outputs(tmp_path).broken}
    assert names == {"report.html", *(f"models/{path.name}" for path in (tmp_path / "models").iterdir())}


def test_a_batch_does_the_good_groups_and_names_the_poisoned_ones(tmp_path):
    result = short("batch", tmp_path)
    assert result["faults"] == []
    poisoned = result["rows"][0]
    assert (poisoned["done"], poisoned["named"]) == (3, 10) and all(result["poisons"].values())


def test_the_same_seed_gives_the_same_bytes_in_fresh_processes_resumed_and_in_batches(tmp_path):
    result = short("determinism", tmp_path)
    assert result["faults"] == []
    (row,) = (row for row in result["rows"] if row["device"] == "cpu")
    assert (row["fresh process"], row["resumed"], row["in a batch"]) == (True, True, True)


def test_a_training_that_diverges_is_noticed_and_ends_with_its_last_good_state(tmp_path):
    result = short("divergence", tmp_path)
    assert result["faults"] == []
    kept = {row["case"]: row["state kept"] for row in result["rows"]}
    assert kept == {
        "learning_rate 1e30 from the start": "none: fails",
        "learning_rate 10 from the start": "none: says so",
        "learning_rate 30 on a sound model": 200,
        "a grid texel becomes NaN": 300,
    }


def test_a_material_of_the_tests_has_no_leftovers(tmp_path):
    make_material(tmp_path / "wall")
    (tmp_path / "wall" / ".wall_albedo.abcd1234.png").write_bytes(b"half")
    found = check_outputs(tmp_path)
    assert found.broken == [] and [path.name for path in found.leftovers] == [".wall_albedo.abcd1234.png"]
