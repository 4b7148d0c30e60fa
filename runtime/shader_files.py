"""The files that `export.py --shaders` writes: an export in containers that shaders read, its decoder, and pages."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from configs import VERSION
from formats.dds import HEADER_BYTES
from formats.export_folder import file_prefix_of
from formats.manifest import MANIFEST_NAME
from formats.names import plain_name
from formats.reader import NeuralTextureReader
from formats.repack import repack_export
from runtime.shader_page import page_text
from runtime.shaders import TARGETS, Shader, default_options, generate
from runtime.texts import template
from runtime.weight_words import WORD_BYTES
from runtime.weights import PackedWeights, pack_weights
from runtime.weights_json import weights_json
from utils.files import write_bytes, write_json

COOPERATIVE_TARGETS = ("spirv", "hlsl")
"""Targets that have a variant with cooperative vectors."""


def shader_storage(manifest: dict) -> str:
    """Return the storage that every target reads: RGBA8 where that is what the grids' bits fill, else packed words."""
    plain = all(
        grid["quantize_bits"] == 8 and grid["n_features"] % 4 == 0 and not grid.get("fields")
        for grid in manifest["grids"]
    )
    return "rgba8" if plain else "packed"


def write_shaders(
    source: Path,
    folder: Path,
    targets: Sequence[str],
    storage: str | None = None,
    name: str | None = None,
    half: bool = False,
    fold: bool = True,
    cooperative_vectors: bool = False,
) -> list[Path]:
    """Write an export's decoder for `targets` (keys of `TARGETS`) into `folder`, with all that it reads.

    The export in `source` is written there in `storage` (by default what every target reads), beside it `weights.bin`
    and `weights.json` as precise as the export, or `weights_float32` for targets that read those (`Target.weights`), a
    source and a page for each target. `name`: what files begin with; `half`: arithmetic in half precision; `fold`: first
    layers with the place folded in; `cooperative_vectors`: variants for SPIR-V and HLSL too.
    Returns the files that were written. Raises `UserError` where slangc is missing, the storage does not suit a target
    or files cannot be written.
    """
    storage = storage or shader_storage(NeuralTextureReader(source).manifest)
    # How the names of sources and of weights end, and what is written so.
    groups: list[tuple[str, str, PackedWeights, list[Shader]]] = []
    # Whatever a target refuses is refused before anything is written.
    with tempfile.TemporaryDirectory(prefix="neural_texture_") as aside:
        repack_export(source, Path(aside), storage, name)
        reader = NeuralTextureReader(aside)
        for precision, members in _by_weights(reader, targets).items():
            packed = pack_weights(reader, fold, precision)
            # C++ compilers have no vectors of half precision that slangc could use.
            chosen = [
                generate(reader, t, replace(default_options(t), half=half and t != "cpp"), packed) for t in members
            ]
            groups.append(("", f"_{precision}" if precision else "", packed, chosen))
        if cooperative_vectors:
            packed = pack_weights(reader, fold, "float16")
            chosen = [
                generate(reader, t, replace(default_options(t), half=True, cooperative_vectors=True), packed)
                for t in COOPERATIVE_TARGETS
            ]
            groups.append(("_cooperative", "_cooperative", packed, chosen))
    manifest = repack_export(source, folder, storage, name)
    reader, prefix = NeuralTextureReader(folder), file_prefix_of(manifest)
    written = [folder / entry["name"] for entry in manifest["files"]] + [folder / MANIFEST_NAME]
    for variant, ending, packed, chosen in groups:
        written += _write_weights(folder, f"{prefix}weights{ending}", packed, manifest)
        for shader in chosen:
            written += _write_shader(folder, reader, shader, prefix, f"{prefix}weights{ending}.bin", variant)
    _remove_stale(folder, prefix, written)
    return written


def _remove_stale(folder: Path, prefix: str, written: Sequence[Path]) -> None:
    """Remove sources, pages and weights of an earlier export: they would decode these grids to something else."""
    for stem in ("neural_texture", "weights"):
        for path in folder.glob(f"{prefix}{stem}*"):
            if path not in written:
                path.unlink(missing_ok=True)


def _by_weights(reader: NeuralTextureReader, targets: Sequence[str]) -> dict[str | None, list[str]]:
    """Return targets by the precision that their weights are stored in, None for the export's own."""
    own = reader.manifest["network"]["precision"]
    groups: dict[str | None, list[str]] = {}
    for name in targets:
        wanted = TARGETS[name].weights
        groups.setdefault(None if wanted == own else wanted, []).append(name)
    return groups


def _write_weights(folder: Path, name: str, packed: PackedWeights, manifest: dict) -> list[Path]:
    write_bytes(folder / f"{name}.bin", packed.data)
    write_json(
        folder / f"{name}.json",
        {"toolkit_version": VERSION, "name": manifest.get("name", ""), **weights_json(packed, manifest)},
    )
    return [folder / f"{name}.bin", folder / f"{name}.json"]


def _write_shader(
    folder: Path, reader: NeuralTextureReader, shader: Shader, prefix: str, weights_file: str, variant: str
) -> list[Path]:
    stem, suffix = shader.target.file.rsplit(".", 1)
    path = folder / f"{prefix}{stem}{variant}.{suffix}"
    code = shader.code
    if shader.target.name == "cpp":
        code = _in_namespace(code.decode() + _cpp_face(reader, shader, weights_file), prefix.rstrip("_")).encode()
    if shader.target.name != "spirv":
        code = _header(reader, shader, weights_file).encode() + code
    write_bytes(path, code)
    page = folder / f"{prefix}{stem}{variant}_{shader.target.name}.md"
    write_bytes(page, page_text(reader, shader, path.name, weights_file).encode())
    return [path, page]


def _header(reader: NeuralTextureReader, shader: Shader, weights_file: str) -> str:
    """Return the comment on top of a source: what it is and what it reads."""
    manifest = reader.manifest
    name = plain_name(manifest.get("name", ""))
    reads = ", ".join(
        [binding.file for binding in shader.bindings if binding.kind in ("texture", "buffer") and binding.file]
    )
    return (
        f"// Decoder of the neural texture '{name}', {manifest['width']} x {manifest['height']}, {manifest['mips']} mips;\n"
        f"// written by neural texture toolkit {VERSION}, compiled from neural_texture.slang.\n"
        f"// Reads {reads.replace('weights.bin', weights_file)}. The page beside it says how.\n"
    )


def _in_namespace(code: str, name: str) -> str:
    """Put a material's C++ into a namespace, after slangc's prelude, so that several materials fit one program."""
    if not name:
        return code
    end = "using namespace SLANG_PRELUDE_NAMESPACE;\n#endif\n"
    prelude, own = code.split(end)
    includes = "".join(f"#include <{header}>\n" for header in ("fstream", "iterator", "stdexcept", "string", "vector"))
    # Entries of two materials may not share a name that C knows.
    exported = "#undef SLANG_PRELUDE_EXPORT\n#define SLANG_PRELUDE_EXPORT\n"
    return f"{prelude}{end}{includes}{exported}namespace {name}\n{{\n{own}}}\n"


def _cpp_face(reader: NeuralTextureReader, shader: Shader, weights_file: str) -> str:
    """Return the class that makes a material of files and hands it to the generated functions."""
    grids = [
        {"name": b.name, "file": b.file, "words": ((reader.folder / b.file).stat().st_size - HEADER_BYTES) // 4}
        for b in shader.bindings
        if b.kind == "buffer" and b.name.startswith("grid_")
    ]
    return template("face.cpp.j2", trim=False).render(
        grids=grids,
        header_bytes=HEADER_BYTES,
        weights_file=weights_file,
        weights_words=len(shader.weights.data) // WORD_BYTES * (WORD_BYTES // 4),
        macs=shader.macs,
    )
