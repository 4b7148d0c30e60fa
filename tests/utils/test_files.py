"""Files that are written aside, and what a killed process leaves of them."""

from __future__ import annotations

import re

from utils.files import LEFTOVER, remove_leftovers, written_aside


def test_what_is_being_written_has_the_name_of_a_leftover(tmp_path):
    for name in ("model.pth", "summary.csv", "hash_grid_0_1.dds", "no_suffix", "two.dots.json"):
        with written_aside(tmp_path / name) as aside:
            assert LEFTOVER.fullmatch(aside.name)
        assert not LEFTOVER.fullmatch(name)
    assert not any(LEFTOVER.fullmatch(name) for name in (".group.lock", ".gitignore", ".eslintrc", "report.html"))


def test_leftovers_go_from_a_folder_and_from_those_sub_folders_alone_that_are_named(tmp_path):
    ours = tmp_path / "2026-01-01-00-00-00" / "models" / "train_result_5"
    others = tmp_path / "another_group" / "2026-01-01-00-00-00"
    for folder in (ours / ".export.abcd1234", others):
        folder.mkdir(parents=True)
    written = [
        tmp_path / ".group.abcd1234.json",
        ours / ".model.k_3x9z12.pth",
        ours / ".export.abcd1234" / "hash_grid_0.dds",
    ]
    kept = [tmp_path / "group.json", tmp_path / ".group.lock", ours / "model.pth", others / ".config.abcd1234.json"]
    for path in (*written, *kept):
        path.write_bytes(b"x")
    assert remove_leftovers(tmp_path, re.compile(r"\d{4}-.*")) == 3
    assert not any(path.exists() for path in written) and all(path.exists() for path in kept)
