"""`view.py` as a command: what it opens, what it writes, how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

import view
from runtime.viewer.materials import open_material, short_labels
from tests.helpers import ROOT, assert_one_line
from utils.errors import UserError


def run_view(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, str(ROOT / "view.py"), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )


def test_a_folder_of_runs_stands_for_its_newest(run, tmp_path):
    for name in ("2025-01-01-00-00-00", "2025-01-02-00-00-00"):
        shutil.copytree(run, tmp_path / name)
    (tmp_path / "tensorboard").mkdir()
    assert open_material(tmp_path).folder.parent.parent.name == "2025-01-02-00-00-00"


def test_an_exported_folder_and_a_run_are_the_same_material(run, material):
    assert open_material(material.folder).manifest == open_material(run).manifest


def test_images_named_relative_to_where_training_was_started_are_found(run, images, tmp_path):
    shutil.copytree(images, tmp_path / "material" / "wall")
    copy = tmp_path / "outputs" / "2025-01-01-00-00-00"
    shutil.copytree(run, copy)
    config = json.loads((copy / "config.json").read_text("utf-8"))
    config["run"]["data_dir"] = "material/wall"
    (copy / "config.json").write_text(json.dumps(config), "utf-8")
    assert not open_material(copy).originals_missing
    assert open_material(copy).textures.width == 96


def test_images_of_another_material_are_refused(run, workspace):
    material = open_material(run, data_dir=workspace / "data" / "test")
    with pytest.raises(UserError, match="another size or other maps"):
        _ = material.textures


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--load_dir", "nowhere"], 2, ["nowhere", "run folder"]),
        (["--load_dir", "{empty}"], 2, ["holds no export"]),
        (["--load_dir", "{run}", "--load_iter", "7"], 2, ["iteration 7", "40"]),
        (["--load_dir", "{run}", "--load_iter", "-2"], 2, ["-2"]),
        (["--load_dir", "{run}", "--port", "70000"], 2, ["70000"]),
        (["--load_dir", "{run}", "--data_dir", "nowhere"], 2, ["nowhere"]),
        (["--load_dir", "{run}", "--data_dir", "{empty}", "{empty}"], 2, ["2 folders", "1 runs"]),
        (["--load_dir", "{run}", "--static", "{file}"], 2, ["is a file"]),
        (["--load_dir", "{run}", "--open", "maybe"], 2, ["maybe"]),
        ([], 2, ["--load_dir"]),
    ],
)
def test_bad_input_ends_in_one_line(arguments, code, words, run, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    places = {"run": run, "empty": tmp_path / "empty", "file": tmp_path / "file"}
    process = run_view(*(argument.format(**places) for argument in arguments), cwd=tmp_path)
    assert process.returncode == code
    assert_one_line(process.stderr, *words)


def test_it_serves_until_ctrl_c_and_ends_cleanly(run, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "view.py"), "--load_dir", str(run), "--open", "False"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )
    try:
        line = next(line for line in process.stdout if line.startswith("viewer:"))
        url = line.split()[1]
        with urllib.request.urlopen(f"{url}style.css", timeout=60) as answer:
            assert answer.read() == (ROOT / "runtime" / "viewer" / "page" / "style.css").read_bytes()
        process.send_signal(signal.CTRL_BREAK_EVENT if os.name == "nt" else signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert err == ""
    assert "closed" in out


def test_the_browser_is_opened_on_request_alone(run, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(view.webbrowser, "open", opened.append)
    monkeypatch.setattr(view, "serve", lambda site, port, ready: ready(f"http://127.0.0.1:{port}/"))
    view.main(["--load_dir", str(run), "--port", "5", "--no-open"])
    assert opened == []
    view.main(["--load_dir", str(run), "--port", "5"])
    assert opened == ["http://127.0.0.1:5/"]


def test_the_page_comes_without_torch(run):
    code = (
        "import sys, view; view.serve = lambda site, port, ready: site.contents['index.html'](); "
        f"view.main(['--load_dir', {str(run)!r}]); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True).returncode == 0


def test_a_static_folder_holds_all_that_the_page_asks_for(run, tmp_path):
    out = tmp_path / "site"
    process = run_view("--load_dir", run, "--static", out)
    assert process.returncode == 0, process.stderr
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    page = {path.name for path in (ROOT / "runtime" / "viewer" / "page").iterdir()}
    assert page <= names
    for source in ("original", "bc7", "astc", "baked"):
        assert f"materials/0/{source}/diffuse.png" in names
        figures = json.loads((out / f"materials/0/{source}/figures.json").read_text("utf-8"))
        assert figures["mips"] == 7
    assert not [name for name in names if name.endswith((".pth", ".npz", ".py"))]
    text = "".join(path.read_text("utf-8") for path in Path(out).rglob("*.js*"))
    assert str(run.parent) not in text


def test_everything_of_the_page_comes_from_its_own_folder():
    for path in (ROOT / "runtime" / "viewer" / "page").iterdir():
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text and "https://" not in text, path.name


def test_labels_tell_runs_apart(material):
    other = replace(material, preset="quality")
    assert short_labels([material]) == ["wall"]
    assert short_labels([material, other]) == ["ue5", "quality"]
    assert len(set(short_labels([material, material]))) == 2
    assert short_labels([material, replace(other, manifest={**other.manifest, "name": "floor"})]) == ["wall", "floor"]


def test_where_no_browser_can_be_opened_a_script_goes_on(run, tmp_path):
    screens = {"DISPLAY", "WAYLAND_DISPLAY", "BROWSER"}
    environment = {name: value for name, value in os.environ.items() if name not in screens}
    # Without a screen Python looks for browsers of the terminal in PATH.
    environment["PATH"] = str(tmp_path)
    ended = subprocess.run(
        [sys.executable, str(ROOT / "view.py"), "--load_dir", str(run)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    assert ended.returncode == 0, ended.stderr
    assert "no browser can be opened here" in ended.stdout and "--static" in ended.stdout
