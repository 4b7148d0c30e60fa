"""The benchmark of the seconds around a training."""

from __future__ import annotations

import json

import pytest

from benchmarks import startup
from tests.helpers import make_material


def test_the_sections_of_a_real_run_add_up_and_torch_is_among_the_imports(tmp_path, capsys):
    out = tmp_path / "startup.json"
    assert (
        startup.main(
            ["--data_dir", str(make_material(tmp_path / "wall")), "--steps", "2", "--turns", "1", "--out", str(out)]
        )
        == 0
    )
    results = json.loads(out.read_text(encoding="utf-8"))
    (run,) = results["seconds"]
    *sections, total = (run[name] for name in startup.SECTIONS)
    assert sum(sections) == pytest.approx(total) and min(sections) > 0
    assert results["import_seconds"]["torch"] > 0
    assert "last step to prompt" in capsys.readouterr().out
