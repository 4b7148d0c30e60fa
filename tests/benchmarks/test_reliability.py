"""The reliability benchmark: its command and its parts' short versions."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.reliability import __main__ as command
from benchmarks.reliability import caged, parts, samples, structures
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


def test_damaged_and_hostile_files_of_every_kind_are_read_or_refused_in_one_line(tmp_path):
    result = parts.part("fuzz")(parts.Options(tmp_path, short=True))
    assert not result["faults"], result["faults"]
    rows = {row["input"]: row for row in result["rows"]}
    for name in ("png", "exr", "material.json", "glb", "manifest", "dds", "npz", "checkpoint", "settings"):
        assert rows[name]["refused"] > 2, name
    assert rows["pickles"]["refused"] == rows["pickles"]["cases"] > 10
    assert rows["all"]["cases"] > 200 and rows["all"]["peak MiB"] <= result["limits"]["memory_mib"]


def test_a_disk_that_fills_up_leaves_what_was_there(tmp_path):
    result = parts.part("disk")(parts.Options(tmp_path, short=True))
    if not result["rows"]:
        pytest.skip("this system neither mounts a small disk nor limits the size of files")
    assert not result["faults"], result["faults"]
    assert sum(row["refused"] for row in result["rows"]) >= 6


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the memory of a case is known on Linux")
def test_a_case_that_runs_code_writes_elsewhere_hangs_or_takes_memory_is_a_fault(tmp_path):
    kinds = [
        caged.Kind(name, _nothing, read, 1)
        for name, read in (("elsewhere", _elsewhere), ("program", _program), ("memory", _memory), ("bug", _bug))
    ]
    cases = [(kind.name, 0) for kind in kinds]
    outcomes = caged.run_cases(kinds, cases, tmp_path, tmp_path, 0, 1)
    found = {outcome.kind: outcome.what for outcome in outcomes}
    assert found == {"elsewhere": "outside", "program": "code", "memory": "memory", "bug": "traceback"}


def _nothing(samples, folder, chance):
    pass


def _elsewhere(folder, out):
    (out / ".." / "elsewhere").write_text("x")


def _program(folder, out):
    subprocess.run([sys.executable, "-c", ""], check=True)


def _memory(folder, out):
    bytearray(b"x") * (1 << 29)


def _bug(folder, out):
    raise ZeroDivisionError


@pytest.mark.parametrize("structure, sample", [("PNG", "png"), ("TIFF", "tif"), ("WEBP", "webp"), ("EXR", "exr")])
def test_structures_find_the_parts_of_their_samples(tmp_path, structure, sample):
    where = getattr(structures, structure)
    for data in samples.IMAGES[sample](tmp_path):
        assert len(where.fields(data)) > 4 and len(where.chunks(data)) > 0
        assert where.repair(data) == data
