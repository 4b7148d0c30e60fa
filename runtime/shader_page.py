"""The page beside a generated source: what it reads, how to call it, what it costs, what was run."""

from __future__ import annotations

import re

from formats.bc7 import bc7_bytes
from formats.dds import FORMATS_BY_NAME, HEADER_BYTES
from formats.names import plain_name
from formats.reader import NeuralTextureReader
from runtime.costs import curve_multiply_adds, fetches
from runtime.engines.absent import content_sentences
from runtime.shaders import Shader
from runtime.specialise import Binding
from runtime.texts import template

_CHECKED = {
    "slang": "compiled by slangc",
    "hlsl": "compiled to SPIR-V and run on a software GPU, compared with the reader in NumPy; not run in Direct3D",
    "glsl": "compiled to SPIR-V by glslang and run on a software GPU, compared with the reader in NumPy",
    "wgsl": "run through wgpu and in Chromium on software GPUs, compared with the reader in NumPy",
    "metal": "generated, compiled by nobody here",
    "spirv": "run on a software GPU, compared with the reader in NumPy",
    "cuda": "compiled by NVRTC; run by tests that find an NVIDIA GPU, which none has yet",
    "cpp": "compiled by g++ and run, compared with the reader in NumPy",
}
_HALF_CHECKED = {
    "hlsl": "in half precision compiled by nobody here; in float32 run on a software GPU",
    "glsl": "in half precision compiled to SPIR-V by glslang, not run; in float32 run on a software GPU",
    "cuda": "in half precision compiled by NVRTC; not run",
    "spirv": "in half precision run on a software GPU, within one 8-bit step of the reader in NumPy",
    "wgsl": "in half precision run through wgpu on a software GPU, within one 8-bit step of the reader in NumPy",
}
_CALLS = {
    "metal": "Functions take a pointer to the context of resources as their last argument, as `NeuralTexture_Decode` shows.",
    "cpp": "The class `NeuralTexture` at the end of the file opens a folder: `NeuralTexture(folder).Sample(u, v, lod)`. "
    "Include the file, or compile it and declare the class where it is used. Build with optimisation (`-O2`).",
    "cuda": "Resources are in the constant `SLANG_globalParams`: set its pointers and counts before a launch.",
    "slang": "Include the file; its switches are on top.",
}
_LANGUAGES = {"cpp": "C++", "cuda": "CUDA", "spirv": "SPIR-V", "metal": "Metal", "slang": "Slang"}


def _place(shader: Shader, binding: Binding) -> str:
    """Return where a resource is bound, as the generated source says."""
    target, name = shader.target.name, re.escape(binding.name)
    if target in ("cpp", "cuda"):
        return f"{'GlobalParams' if target == 'cpp' else 'SLANG_globalParams'}.{binding.name}"
    if target == "hlsl" and (found := re.search(rf"\b{name}\b[^;{{]*: register\((\w+)(?:, *(\w+))?\)", shader.text)):
        return f"register({found[1]}, {found[2] or 'space0'})"
    if target == "metal" and (found := re.search(rf"\b{name}_\d+ \[\[(\w+\(\d+\))\]\]", shader.text)):
        return f"[[{found[1]}]]"
    where = "@group({0}) @binding({1})" if target == "wgsl" else "set {0}, binding {1}"
    return where.format(shader.options.group, binding.number)


def _size(binding: Binding, manifest: dict) -> str:
    """Return a grid's size and row pitch."""
    for grid in manifest["grids"]:
        if binding.file in grid["files"]:
            side = grid["max_resolution"]
            return f"{side} x {side}, {side * FORMATS_BY_NAME[grid['format']].texel_bytes:,} bytes a row"
    return ""


def page_text(reader: NeuralTextureReader, shader: Shader, file: str, weights_file: str) -> str:
    """Return the page of one generated source in Markdown."""
    manifest, target, options, fold = reader.manifest, shader.target.name, shader.options, shader.weights.fold
    sizes = {entry["name"]: entry["bytes"] for entry in manifest["files"]}
    checked = _CHECKED[target]
    if options.cooperative_vectors:
        checked = "written by slangc; not run, for want of a device with cooperative vectors"
    elif options.half and target in _HALF_CHECKED:
        checked = _HALF_CHECKED[target]
    return template("shader_page.md.j2", trim=False).render(
        file=file,
        name=plain_name(manifest.get("name", ""), ascii_only=False),
        language=_LANGUAGES.get(target, target.upper()),
        checked=checked,
        call=_CALLS.get(target, ""),
        bindings=[
            {
                "name": binding.name,
                "place": _place(shader, binding),
                "kind": binding.kind.replace("_", " "),
                "format": binding.format,
                "file": weights_file if binding.file == "weights.bin" else binding.file,
                "size": _size(binding, manifest),
            }
            for binding in shader.bindings
        ],
        filtered=any(binding.kind == "sampler" for binding in shader.bindings),
        buffers=options.grids == "buffers",
        header_bytes=HEADER_BYTES,
        weights_file=weights_file,
        weights_bytes=len(shader.weights.data),
        precision=manifest["network"]["precision"],
        weights_precision=shader.weights.first.precision,
        fold=fold is not None,
        matrices=fold.count if fold else 0,
        periods=", ".join(map(str, fold.periods)) if fold else "(1, 1) for all",
        decode=options.decode,
        main=target == "glsl",
        half=options.half,
        absent=", ".join(name for name, there in reader.present.items() if not there),
        contents=content_sentences(manifest),
        coded=manifest["channels"][0]["space"] == "srgb",
        opengl=manifest["normal_convention"] == "opengl",
        stored_mips=len(reader.stored_mips),
        grid_bytes=sum(sizes[name] - HEADER_BYTES for grid in manifest["grids"] for name in grid["files"]),
        bc7_bytes=bc7_bytes(manifest),
        macs=shader.macs,
        curve_macs=curve_multiply_adds(reader),
        fetches=fetches(reader),
        textures=sum(len(grid["files"]) for grid in manifest["grids"]),
        linear=manifest["network"].get("linear") is not None,
        **{key: manifest[key] for key in ("width", "height", "mips", "bpp", "wrap", "bytes_per_texel")},
    )
