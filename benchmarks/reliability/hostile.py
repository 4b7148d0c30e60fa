"""What damage alone would not make: bombs, pickles that would run code, names and links that lead elsewhere."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pickle
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.reliability import bombs, export_kinds, material_kinds, run_kinds
from benchmarks.reliability.caged import Kind
from benchmarks.reliability.damage import WRONG_TEXTS
from utils.errors import UserError

_NAMES = (
    "../outside.png",
    "../../outside.png",
    "/outside.png",
    "C:/outside.png",
    "CON",
    "nul.png",
    "map.png.",
    "map ",
    "",
)


class _Runs:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def _bomb(name: str, samples: Path, folder: Path, chance: random.Random) -> None:
    bombs.FILES[name][0](samples, folder, chance)


def _pickled(place: str, protocol: int, samples: Path, folder: Path, _chance: random.Random) -> None:
    """Put a pickle that runs code where a file of another kind is expected."""
    data = pickle.dumps({"format": _Runs(folder / "ran")}, protocol)
    shutil.copytree(samples / "exports" / "00", folder / "export")
    shutil.copytree(samples / "run" / "material", folder / "material")
    if place == "archive":
        with zipfile.ZipFile(samples / "run" / "model.pth") as source:
            with zipfile.ZipFile(folder / "model.pth", "w") as target:
                for name in source.namelist():
                    target.writestr(name, data if name.endswith("data.pkl") else source.read(name))
    elif place == "npz":
        import numpy as np

        weights = np.array([_Runs(folder / "ran")], dtype=object)
        np.savez(folder / "export" / "network_data.npz", network=weights)
        export_kinds.fit_manifest(folder / "export", "network_data.npz")
    elif place in ("model.pth", "config.json"):
        (folder / place).write_bytes(data)
    else:
        (folder / "export" / place).write_bytes(data)
        if place != export_kinds.MANIFEST:
            export_kinds.fit_manifest(folder / "export", place)


_PICKLED: dict[str, Callable[[Path, Path], None]] = {
    "model.pth": run_kinds.open_checkpoint,
    "archive": run_kinds.open_checkpoint,
    "config.json": run_kinds.open_settings,
    "manifest.json": export_kinds.open_export,
    "hash_grid_0.dds": export_kinds.open_export,
    "network_data.npz": export_kinds.open_export,
    "npz": export_kinds.open_export,
}


def _named_file(name: str, samples: Path, folder: Path, _chance: random.Random) -> None:
    """An export whose manifest, and a material.json and a glTF file that name a file elsewhere."""
    shutil.copytree(samples / "exports" / "00", folder / "export")
    path = folder / "export" / export_kinds.MANIFEST
    path.write_text(path.read_text("utf-8").replace('"hash_grid_0.dds"', json.dumps(name)), "utf-8")
    for sub in ("json", "gltf"):
        (folder / sub).mkdir()
    material = {"maps": {"diffuse": name}}
    (folder / "json" / "material.json").write_text(json.dumps(material), "utf-8")
    document = {"asset": {"version": "2.0"}, "images": [{"uri": name}], "textures": [{"source": 0}]}
    document["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}]
    (folder / "gltf" / "rock.gltf").write_text(json.dumps(document), "utf-8")


def _refuse_each(folder: Path, out: Path) -> None:
    """Open all three; the last refusal is raised, and one that is read is named."""
    refusal: UserError | None = None
    for read, place in (
        (export_kinds.open_export, folder),
        (material_kinds.load_all, folder / "json"),
        (material_kinds.load_all, folder / "gltf"),
    ):
        try:
            read(place, out)
        except UserError as error:
            refusal = error
        else:
            raise ValueError(f"{place.name} is read")
    assert refusal
    raise refusal


def _named_material(samples: Path, folder: Path, chance: random.Random) -> None:
    """An export and glTF materials whose names are no names of files or folders."""
    shutil.copytree(samples / "exports" / "00", folder / "export")
    path = folder / "export" / export_kinds.MANIFEST
    manifest = json.loads(path.read_text("utf-8"))
    manifest["name"] = chance.choice([name for name in WRONG_TEXTS if name.isprintable()])
    path.write_text(json.dumps(manifest), "utf-8")
    batch = folder / "batch"
    batch.mkdir()
    material_kinds.make_gltf(samples, batch, None)
    document = json.loads((batch / "rock.gltf").read_text("utf-8"))
    texts = [text for text in WRONG_TEXTS if "\ud800" not in text]
    document["materials"] = [{**document["materials"][1], "name": name} for name in (*texts, "con", "CON")]
    (batch / "rock.gltf").write_text(json.dumps(document), "utf-8")


def _use_names(folder: Path, out: Path) -> None:
    """Write what is named after a material: baked maps, a repacked export, output folders of a batch."""
    from formats.manifest import read_manifest
    from formats.names import material_prefix

    material_kinds.refuse_strange_name(material_prefix(read_manifest(folder / "export").get("name", "")))
    export_kinds.open_export(folder, out / "export")
    material_kinds.load_all(folder / "batch", out / "batch")


def _odd_file(what: str, samples: Path, folder: Path, _chance: random.Random) -> None:
    """A map of a material that is no plain file."""
    path = folder / "rock_albedo.png"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "link to itself":
        path.symlink_to(path)
    elif what == "empty file":
        path.write_bytes(b"")
    elif what == "name with a line break":
        (folder / "rock\n\x1b[2J_albedo.png").write_bytes(b"no image")
    elif what == "name that is no text":
        Path(os.fsdecode(os.fsencode(folder) + b"/rock\xff_albedo.png")).write_bytes(b"no image")
    else:
        path.symlink_to(what)


_ODD = (
    "/dev/zero",
    "/dev/urandom",
    "/dev/null",
    "/dev/stdin",
    "/nowhere",
    "/etc/passwd",
    "link to itself",
    "pipe",
    "folder",
    "empty file",
    "name with a line break",
    "name that is no text",
)


def _odd_export(what: str, samples: Path, folder: Path, _chance: random.Random) -> None:
    """An export one of whose files is no plain file, or a link."""
    name = {"manifest": "manifest.json", "weights": "network_data.npz"}.get(what.split()[0], "hash_grid_0.dds")
    shutil.copytree(samples / "exports" / "00", folder / "export")
    path = folder / "export" / name
    path.unlink()
    if what.endswith("pipe"):
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")


def _linked_output(samples: Path, folder: Path, _chance: random.Random) -> None:
    """An export, and links to a file outside in the folder that it is repacked into."""
    shutil.copytree(samples / "exports" / "00", folder / "export")
    (folder / "outside").write_text("as it was", "utf-8")


def _repack_over_links(folder: Path, out: Path) -> None:
    from formats.repack import repack_export

    packed = out / "packed"
    packed.mkdir()
    for name in ("manifest.json", "hash_grid_0.dds", "network_data.npz"):
        (packed / name).symlink_to(folder / "outside")
    repack_export(folder / "export", packed, "packed")
    if (folder / "outside").read_text("utf-8") != "as it was":
        raise ValueError("a file outside was written through a link")


def _strange_paths(_samples: Path, folder: Path, _chance: random.Random) -> None:
    for number, text in enumerate(WRONG_TEXTS):
        settings = {"run": {"data_dir": text, "save_dir": text}}
        (folder / f"{number}.json").write_text(json.dumps(settings), "utf-8")


def _use_strange_paths(folder: Path, out: Path) -> None:
    """Give every command a path that is none; each has to answer in one line."""
    from dataset import get_texture_config, load_texture_set
    from formats.manifest import find_export
    from images.inputs import material_inputs
    from training.checkpoint import find_checkpoint
    from training.flags import make_config, parse_flags
    from utils.files import read_json, require_writable_folder

    refused, before = 0, os.getcwd()
    # Some lead to the present folder or the one above.
    os.chdir(folder)
    uses: tuple[Callable[[str], object], ...] = (
        load_texture_set,
        lambda text: load_texture_set(folder / text if not os.path.isabs(text) else text),
        lambda text: material_inputs(Path(text), get_texture_config()),
        lambda text: find_checkpoint(text, -1),
        lambda text: find_export(Path(text)),
        lambda text: make_config(parse_flags(["--config", text])),
        read_json,
        lambda text: require_writable_folder(out / "below" / Path(text).name),
    )
    for number, text in enumerate(WRONG_TEXTS):
        # Only a file of settings can hold what the system takes for no path.
        for use in uses if text.isprintable() else ():
            with contextlib.suppress(UserError, OSError):
                use(text)
        try:
            config = make_config(parse_flags(["--config", f"{number}.json"]))
            load_texture_set(config.run.data_dir)
        except (UserError, OSError):
            refused += 1
    os.chdir(before)
    if not refused:
        raise ValueError("nothing was refused")


def _kind(row: str, name: str, make: Callable, read: Callable, refused: bool = True, share: int = 1) -> Kind:
    return Kind(f"{row}: {name}", make, read, share, None, row, refused, "512 MiB" in name or "scans" in name)


BOMBS, PICKLES, PATHS = "bombs", "pickles", "names, paths and links"
KINDS = [
    *(
        _kind(BOMBS, name, functools.partial(bombs.make_image, name), bombs.load, refused)
        for name, (_, _, refused) in bombs.IMAGES.items()
    ),
    *(_kind(BOMBS, name, functools.partial(_bomb, name), read) for name, (_, read) in bombs.FILES.items()),
    *(
        _kind(PICKLES, f"{place}, protocol {protocol}", functools.partial(_pickled, place, protocol), read)
        for place, read in _PICKLED.items()
        for protocol in (0, 2, 4)
    ),
    *(_kind(PATHS, f"a file {name!r}", functools.partial(_named_file, name), _refuse_each) for name in _NAMES),
    _kind(PATHS, "names of materials", _named_material, _use_names, False, 8),
    *(
        _kind(PATHS, f"an image that is {what}", functools.partial(_odd_file, what), bombs.load)
        for what in _ODD
        if os.name != "nt"
    ),
    *(
        _kind(PATHS, f"an export with {what}", functools.partial(_odd_export, what), export_kinds.open_export)
        for what in ("manifest /dev/zero", "weights /dev/zero", "grid /dev/zero", "manifest pipe", "grid pipe")
        if os.name != "nt"
    ),
    _kind(PATHS, "links in the output folder", _linked_output, _repack_over_links, False),
    _kind(PATHS, "paths that are none", _strange_paths, _use_strange_paths, False),
]
