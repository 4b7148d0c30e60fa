"""The reliability benchmark: its command and its parts' short versions."""

from __future__ import annotations

import json

import pytest

from benchmarks.reliability import __main__ as command
from benchmarks.reliability import parts
from utils.errors import UsageError


def test_a_part_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(UsageError, match="nothing is no part; choose of fuzz, disk"):
        command.main(["nothing"])


def test_results_of_other_parts_stay_and_faults_are_the_exit_code(tmp_path, monkeypatch, capsys):
    out = tmp_path / "results" / "reliability.json"
    seen = []

    def run(options):
        seen.append(options)
        (options.work / "file").write_text("x")
        return {"rows": [{"what": "a", "cases": 2000}], "faults": ["a broke"] if options.seed else []}

    monkeypatch.setattr(command, "part", lambda name: run)
    assert command.main(["fuzz", "--short", "--out", str(out)]) == 0
    assert command.main(["disk", "--seed", "7", "--out", str(out)]) == 1
    assert (seen[0].short, seen[0].seed, seen[1].short, seen[1].seed) == (True, 0, False, 7)
    assert not seen[0].work.exists()
    results = json.loads(out.read_text("utf-8"))["parts"]
    assert list(results) == ["fuzz", "disk"] and results["disk"]["faults"] == ["a broke"]
    assert results["fuzz"]["short"] and results["fuzz"]["rows"] == [{"what": "a", "cases": 2000}]
    printed = capsys.readouterr().out
    assert "2,000" in printed and "fault: a broke" in printed


def test_every_part_has_a_function_that_runs_it():
    assert all(callable(parts.part(name)) for name in parts.PARTS)
