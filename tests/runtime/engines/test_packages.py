"""Packages of several materials side by side, and of materials with hostile names."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from formats.names import material_prefix
from formats.reader import NeuralTextureReader
from runtime.engines.packages import PACKAGES, write_packages
from tests.formats.reference_decoder import make_source
from tests.runtime.npm import require_node
from training.exporting import export_material
from utils.errors import UserError

HOSTILE = "wall\"'\n\\\r\n*/</script><!-- `${boom}` {{ 7 * 7 }} %s $(boom) --\u2028#include"
TEXTS = {".js", ".html", ".md", ".py", ".cs", ".hlsl", ".shader", ".gdshader", ".gdshaderinc", ".tres"}


def named(folder: Path, name: str, **source) -> NeuralTextureReader:
    export_material(make_source(32, 16, **source), folder, name="material")
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    (folder / "manifest.json").write_text(json.dumps({**manifest, "name": name}), "utf-8")
    return NeuralTextureReader(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write(reader: NeuralTextureReader, out: Path, name: str = "", engines=tuple(PACKAGES)) -> dict[str, list[Path]]:
    return write_packages(reader, out, engines, name or material_prefix(reader.manifest["name"]))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    """The folders with all packages of a material of a hostile name."""
    folder = tmp_path_factory.mktemp("hostile")
    write(named(folder / "export", HOSTILE), folder / "engines")
    return folder / "engines"


def test_a_second_material_changes_no_file_of_the_first(tmp_path):
    out = tmp_path / "engines"
    write(named(tmp_path / "first", "Brick wall"), out)
    first = contents(out)
    second = write(named(tmp_path / "second", "Rust", n_neurons=32, wrap=False), out)
    both = contents(out)
    assert {path: both[path] for path in first} == first
    for engine, files in second.items():
        record = json.loads((out / engine / "Rust_package.json").read_text("utf-8"))
        assert record["material"] == "Rust" and record["engine"] == engine and record["made_of"]
        assert {out / engine / file for file in record["files"]} == set(files) - {out / engine / "Rust_package.json"}
        assert all(path.is_file() for path in files)


def test_names_with_one_prefix_are_refused_until_one_gets_another(tmp_path):
    out = tmp_path / "engines"
    first, second = named(tmp_path / "first", "Brick wall"), named(tmp_path / "second", "Brick-wall")
    engines = ("godot", "gltf")
    write(first, out, engines=engines)
    before = contents(out)
    with pytest.raises(UserError, match="belongs to the material 'Brick wall'.*--name") as error:
        write(second, out, engines=engines)
    assert "\n" not in str(error.value) and contents(out) == before
    write(first, out, engines=engines)
    write(second, out, "Brick_wall_2", engines)
    assert before.items() <= contents(out).items()


def test_a_damaged_record_is_refused_in_one_line(tmp_path):
    (tmp_path / "three").mkdir()
    for text in ("[]", "{", '{"material": 3}'):
        (tmp_path / "three" / "Rust_package.json").write_text(text, "utf-8")
        with pytest.raises(UserError):
            write_packages(named(tmp_path / "export", "Rust"), tmp_path, ["three"], "Rust")


def test_a_hostile_name_stands_in_no_text_of_any_package(hostile, monkeypatch):
    prefix = material_prefix(HOSTILE)
    assert re.fullmatch(r"[A-Za-z_]\w*", prefix, re.ASCII)
    texts = [path for path in hostile.rglob("*") if path.suffix in TEXTS and not path.name.startswith("three.")]
    assert {path.suffix for path in texts} == TEXTS
    for path in texts:
        text = path.read_text("utf-8")
        assert not [part for part in ("{boom}", "(boom)", "wall\"'", "*/</", "7 * 7") if part in text], path
    for engine in PACKAGES:
        record = json.loads((hostile / engine / f"{prefix}_package.json").read_text("utf-8"))
        assert record["material"] == HOSTILE
    monkeypatch.setitem(sys.modules, "unreal", MagicMock())
    runpy.run_path(str(hostile / "unreal" / f"import_{prefix}.py"))
    glb = (hostile / "gltf" / f"{prefix}.glb").read_bytes()
    document = json.loads(glb[20 : 20 + int.from_bytes(glb[12:16], "little")])
    assert document["asset"]["extras"]["material"] == prefix


def test_the_module_of_a_hostile_name_is_valid(hostile, tmp_path):
    copy = tmp_path / "module.mjs"
    shutil.copyfile(hostile / "three" / f"{material_prefix(HOSTILE)}.js", copy)
    result = subprocess.run([require_node(), "--check", str(copy)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
