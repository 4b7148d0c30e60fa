"""Names that are made from a material's name hold on every system and in every shading language."""

from __future__ import annotations

import re

import pytest

from formats.names import file_prefix, material_prefix


@pytest.mark.parametrize(
    "name", ["wall", "Mossy rock-02", "砖墙", "", "../../etc", "2k", "con", "LPT1", "a" * 500, "x/y\\z:?*", " _ "]
)
def test_a_prefix_is_an_identifier_and_a_file_name(name):
    prefix = material_prefix(name)
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", prefix)
    assert len(prefix) <= 80
    assert prefix.lower() not in ("con", "prn", "aux", "nul", "lpt1")
    assert file_prefix(prefix) == prefix


def test_a_plain_name_stays_as_it_is():
    assert file_prefix("Rock_04") == "Rock_04"


def test_names_of_one_script_alone_stay_different():
    assert material_prefix("岩石") != material_prefix("砖墙")
