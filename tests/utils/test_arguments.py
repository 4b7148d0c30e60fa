"""Paths in commands that are shown for copying."""

import os

import pytest

from utils.arguments import command_path


@pytest.mark.parametrize(
    "system, path, shown",
    [
        ("posix", "outputs/run", "outputs/run"),
        ("posix", "my out/run", "'my out/run'"),
        ("nt", r"outputs\run", r"outputs\run"),
        ("nt", r"C:\my out\run", r'"C:\my out\run"'),
        ("nt", r"C:\rock&moss\run", r'"C:\rock&moss\run"'),
    ],
)
def test_a_path_stands_as_one_word_in_a_command_of_its_system(system, path, shown, monkeypatch):
    monkeypatch.setattr(os, "name", system)
    assert command_path(path) == shown
