"""The decoder of one material as source for each target, from `neural_texture.slang` through slangc."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from configs import TEXTURE_CHANNELS
from formats.reader import NeuralTextureReader
from runtime.slang import compile_slang
from runtime.specialise import Binding, Options, Specialised, specialise
from runtime.weights import PackedWeights, pack_weights
from utils.errors import UserError

_PLAIN_WORD = re.compile(r"\b[A-Za-z_]\w*\b")


@dataclass(frozen=True)
class Target:
    """A language that the decoder is written in."""

    name: str
    file: str
    slangc: str
    """What slangc calls it."""
    buffers: bool = False
    """Grids are read from buffers, and the entry is NeuralTexture_Decode."""
    weights: str | None = None
    """Precision that its weights are read in, where it is not the export's own."""
    flags: tuple[str, ...] = ()


TARGETS = {
    target.name: target
    for target in (
        Target("slang", "neural_texture.slang", ""),
        Target("hlsl", "neural_texture.hlsl", "hlsl"),
        Target("glsl", "neural_texture.glsl", "glsl"),
        Target("wgsl", "neural_texture.wgsl", "wgsl"),
        Target("metal", "neural_texture.metal", "metal"),
        Target(
            "spirv", "neural_texture.spv", "spirv", flags=("-O0", "-profile", "spirv_1_3", "-fvk-use-entrypoint-name")
        ),
        Target("cuda", "neural_texture.cu", "cuda", buffers=True),
        # Widening half-precision weights takes a processor longer than the sums themselves.
        Target("cpp", "neural_texture.cpp", "cpp", buffers=True, weights="float32"),
    )
}


@dataclass(frozen=True)
class Shader:
    """The decoder in one language."""

    target: Target
    code: bytes
    """UTF-8 source, or SPIR-V."""
    bindings: list[Binding]
    macs: dict[str, int]
    """Multiply-adds of one decode, as the code does them: `texel` (Load, SampleStochastic) and `point` (Sample)."""
    weights: PackedWeights
    options: Options

    @property
    def text(self) -> str:
        """The source; raises `UnicodeDecodeError` for SPIR-V."""
        return self.code.decode("utf-8")


def generate(
    reader: NeuralTextureReader, target: str, options: Options | None = None, weights: PackedWeights | None = None
) -> Shader:
    """Return an export's decoder in the language `target`, a key of `TARGETS`.

    `options`: how it is built, by default what suits the target; `weights`: those of `pack_weights` where they are at
    hand. Raises `UserError` where slangc is missing or the export's containers do not suit the target.
    """
    chosen = TARGETS[target]
    options = options or default_options(target)
    if target == "wgsl":
        _check_webgpu(reader.manifest)
    if weights is None:
        weights = pack_weights(reader, precision="float16" if options.cooperative_vectors else chosen.weights)
    special = specialise(reader, weights, options)
    defines = {
        "NEURAL_TEXTURE_HALF": options.half,
        "NEURAL_TEXTURE_METAL": target == "metal",
        "NEURAL_TEXTURE_CPP": target == "cpp",
        "NEURAL_TEXTURE_COOPERATIVE": options.cooperative_vectors,
        "NEURAL_TEXTURE_BAKE": options.bake,
        "NEURAL_TEXTURE_DECODE": options.decode,
    }
    root = _source()
    if target == "slang":
        code = _stand_alone(root, special.source, defines).encode()
    else:
        entry = "NeuralTexture_Bake" if options.bake else "NeuralTexture_Decode" if options.decode else None
        flags = [*chosen.flags, *(("-profile", "sm_6_9") if options.cooperative_vectors and target == "hlsl" else ())]
        sources = {"neural_texture.slang": root, "material.slang": special.source}
        code = compile_slang(sources, chosen.slangc, entry, {name: int(on) for name, on in defines.items()}, flags)
        if target != "spirv":
            code = _plain_names(code.decode("utf-8"), special).encode()
        if target == "cuda":
            # Slang's prelude hides the half type, which float16 weights are read by.
            code = b"#define SLANG_CUDA_ENABLE_HALF 1\n" + code
    return Shader(chosen, code, special.bindings, special.macs, weights, options)


def default_options(target: str) -> Options:
    """Return the options that files for a target are written with."""
    if TARGETS[target].buffers:
        return Options(grids="buffers", filter=False, bake=False, decode=True)
    # Metal keeps only functions that an entry calls, and this one calls all.
    return Options(bake=target != "metal", decode=target == "metal")


@cache
def _source() -> str:
    return (Path(__file__).parent / "neural_texture.slang").read_text(encoding="utf-8")


def _check_webgpu(manifest: dict) -> None:
    for g, grid in enumerate(manifest["grids"]):
        if grid["format"] in ("B4G4R4A4_UNORM", "R16G16B16A16_UNORM"):
            raise UserError(
                f"WebGPU has no {grid['format']}, which grid {g} is stored in; export with --storage packed"
            )


def _stand_alone(root: str, material: str, defines: dict[str, bool]) -> str:
    """Return one Slang file: the root with the material in the place of its include, and the switches on top."""
    switches = "".join(f"#define {name} {int(on)}\n" for name, on in defines.items())
    before, after = root.split('#include "material.slang"\n')
    return f"{switches}\n{before}{material}{after}"


def _plain_names(code: str, special: Specialised) -> str:
    """Take slangc's number off the names that users of the code write: bindings, fields of a sample, the C++ structs."""
    names = [binding.name for binding in special.bindings] + list(TEXTURE_CHANNELS)
    names += ["GlobalParams", "KernelContext", "DecodePoint"]
    words = set(_PLAIN_WORD.findall(code))
    changes = {f"{name}_0": name for name in names if name not in words}
    return _PLAIN_WORD.sub(lambda match: changes.get(match[0], match[0]), code)
