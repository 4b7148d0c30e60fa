"""One material's constants, bindings, grids and layers as Slang source: what `neural_texture.slang` is specialised by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from configs import TEXTURE_CHANNELS
from formats.fields import WORD_FORMATS
from formats.names import plain_name
from formats.reader import NeuralTextureReader
from runtime.costs import multiply_adds
from runtime.texts import template
from runtime.weight_words import WORD_BYTES
from runtime.weights import PackedFirstLayer, PackedLayer, PackedWeights
from utils.errors import UserError

WEIGHTS_TEXTURE_WIDTH = 256
"""Texels in a row of the weights as a texture: RGBA8, four to a word, or a word each."""
MOST_POSITION = 1 << 30
"""Width of a mip times side of a grid; beyond, whole numbers of 32 bits overflow."""
_SWIZZLE = "xyzw"
ResourceKind = Literal["texture", "sampler", "buffer", "uniform", "storage_texture", "output_buffer"]
"""Kinds of resources."""


@dataclass(frozen=True)
class Options:
    """How the decoder is built, apart from what the material says."""

    grids: Literal["textures", "buffers", "atlas"] = "textures"
    """Buffers hold a DDS file's levels as 32-bit words, finest first. An atlas holds them in one texture without mips,
    level 0 on the left, the others below each other beside it (`grid_atlas`): engines make mips of their own."""
    weights: Literal["buffer", "texture", "words", "constants"] = "buffer"
    """A buffer of 16-byte words, a texture of them (RGBA8, or `words`: a word a texel), or numbers in the source."""
    half: bool = False
    """Arithmetic in half precision (sums stay float32)."""
    filter: bool = True
    """The texture unit blends the taps of bilinear UNORM grids; else the shader does, exactly."""
    group: int = 0
    """Descriptor set, register space or bind group of all bindings."""
    cooperative_vectors: bool = False
    """Layers by cooperative vectors, weights in half precision from a byte-addressed buffer."""
    bake: bool = True
    """With the compute entry NeuralTexture_Bake, which writes a mip into storage textures."""
    decode: bool = False
    """With the compute entry NeuralTexture_Decode, which decodes a list of points."""


@dataclass(frozen=True)
class Binding:
    """A resource that the generated code reads or writes."""

    number: int
    name: str
    kind: ResourceKind
    format: str
    """DXGI name of a texture's format, or what an entry of a buffer is."""
    declaration: str
    """Slang type."""
    file: str = ""
    """The file it holds."""


@dataclass
class Specialised:
    """The generated source and what it stands for."""

    source: str
    bindings: list[Binding]
    macs: dict[str, int]
    """Multiply-adds of one decode: `texel` (NeuralTexture_Load) and `point` (NeuralTexture_Sample)."""


def specialise(reader: NeuralTextureReader, weights: PackedWeights, options: Options) -> Specialised:
    """Return an export's `material.slang`; raises `UserError` where its containers do not suit the options."""
    manifest = reader.manifest
    _check(manifest)
    bindings = _Bindings()
    grids = [_grid(reader, g, weights, options, bindings) for g in range(len(manifest["grids"]))]
    if any(grid["hardware"] for grid in grids):
        bindings.add(
            "grid_sampler", "sampler", "linear, " + ("repeat" if manifest["wrap"] else "clamp"), "SamplerState"
        )
    if options.weights == "buffer":
        if options.cooperative_vectors:
            bindings.add("weights", "buffer", "bytes", "ByteAddressBuffer", "weights.bin")
        else:
            bindings.add("weights", "buffer", "uint4", "StructuredBuffer<uint4>", "weights.bin")
    elif options.weights == "texture":
        bindings.add("weights", "texture", "R8G8B8A8_UNORM", "Texture2D<float4>", "weights")
    elif options.weights == "words":
        bindings.add("weights", "texture", "R32G32B32A32_UINT", "Texture2D<uint4>", "weights")
    if options.bake:
        bindings.add("bake_settings", "uniform", "uint mip", "ConstantBuffer<BakeSettings>")
        for name in ("baked_diffuse", "baked_normal", "baked_surface"):
            bindings.add(name, "storage_texture", "R8G8B8A8_UNORM", '[format("rgba8")] WTexture2D<float4>')
    if options.decode:
        bindings.add("decode_settings", "uniform", "uint count", "ConstantBuffer<DecodeSettings>")
        bindings.add("points", "buffer", "DecodePoint", "StructuredBuffer<DecodePoint>")
        bindings.add("decoded", "output_buffer", "float", "RWStructuredBuffer<float>")
    steps, layers, outputs = _network(manifest, weights)
    encoding, linear = manifest["positional_encoding"], manifest["network"].get("linear")
    gathered = any(columns.taps == 4 for columns in weights.columns.grids)
    source = template("material.slang.j2", trim=False).render(
        source=plain_name(manifest.get("name", "")),
        width=manifest["width"],
        height=manifest["height"],
        mips=manifest["mips"],
        stored_mips=len(reader.stored_mips),
        wrap=manifest["wrap"],
        diffuse_is_coded=manifest["channels"][0]["space"] == "srgb",
        frequencies=encoding["n_frequencies"],
        phases=encoding["phases"],
        period_cells=encoding["period_cells"],
        position_order=manifest.get("position_order", 0),
        product_count=weights.columns.product_count if gathered else 0,
        linear_order=linear["order"] if linear else 0,
        linear_count=weights.columns.linear_count if gathered else 0,
        encoding_quads=weights.encoding_quads,
        hidden_groups=weights.first.hidden // 4,
        linear_groups=weights.first.linear // 4,
        fold=weights.fold,
        bindings=bindings.all,
        group=options.group,
        bake=options.bake,
        decode=options.decode,
        weight_word=_weight_word(weights, options),
        grids=grids,
        first_layers=_first_layers(grids, weights),
        layers=layers,
        steps=steps,
        outputs=outputs,
    )
    return Specialised(source, bindings.all, multiply_adds(weights))


class _Bindings:
    def __init__(self) -> None:
        self.all: list[Binding] = []

    def add(self, name: str, kind: ResourceKind, format: str, declaration: str, file: str = "") -> None:
        self.all.append(Binding(len(self.all), name, kind, format, declaration, file))


def _check(manifest: dict) -> None:
    """Refuse what the shader's whole numbers cannot hold or a later manifest might say."""
    for g, grid in enumerate(manifest["grids"]):
        if max(manifest["width"], manifest["height"]) * grid["max_resolution"] >= MOST_POSITION:
            raise UserError(
                f"grid {g} of side {grid['max_resolution']} is too large for shaders; train with smaller grids"
            )
        for mip, levels in enumerate(manifest["mip_levels"]):
            if levels[g] != max(grid["n_levels"] - 1 - mip, 0):
                raise UserError(
                    f"mip {mip} reads level {levels[g]} of grid {g}, which shaders do not; export the material again"
                )


def _vector(values: list, kind: str) -> str:
    return f"{kind}4({', '.join(map(str, values))})"


def _features(codes: str, scales: list[float], offsets: list[float], curves: np.ndarray | None) -> str:
    """Return the expression of up to four features from their `codes` (float4), a feature being on its curve at
    t = code * scale + offset; `curves`: c0 .. c3 of each, none: t itself.
    """
    if curves is None:
        padded = [values + [0.0] * (4 - len(values)) for values in (scales, offsets)]
        return f"Real4({codes} * {_vector(padded[0], 'float')} + {_vector(padded[1], 'float')})"
    numbers = np.zeros((4, 4))
    for i, (scale, offset, curve) in enumerate(zip(scales, offsets, curves)):
        # The curve as a polynomial of the code itself, which saves a multiply-add.
        composed = np.polynomial.Polynomial(curve)(np.polynomial.Polynomial([offset, scale])).coef
        numbers[: len(composed), i] = composed
    return f"Real4(onCurve({codes}, {', '.join(_vector(list(map(float, row)), 'float') for row in numbers)}))"


def _field_quads(words: list[str], fields: list[dict], curves: np.ndarray | None) -> list[str]:
    """Return one expression for every four features that lie as bit fields in `words`."""
    quads = []
    for first in range(0, len(fields), 4):
        used = fields[first : first + 4]
        part = (4 * used)[:4]
        word = _vector([words[entry["word"]] for entry in part], "uint")
        shift = _vector([f"{entry['shift']}u" for entry in part], "uint")
        mask = _vector([f"{(1 << entry['bits']) - 1}u" for entry in part], "uint")
        scales, offsets = zip(*[(2.0 ** -entry["bits"], (2.0 ** -entry["bits"] - 1) / 2) for entry in used])
        own = None if curves is None else curves[first : first + 4]
        quads.append(_features(f"float4(({word} >> {shift}) & {mask})", list(scales), list(offsets), own))
    return quads


def _channel_quad(channels: str, entry: dict, levels: float, file: int, curves: np.ndarray | None) -> str:
    """Return the expression of a file's features from its channels, 0 to `levels`."""
    if curves is None:
        return f"Real4({channels} * {entry['scale'] / levels!r} + {entry['offset']!r})"
    own = curves[4 * file : 4 * file + 4]
    return _features(channels, [entry["scale"] / levels] * len(own), [entry["offset"]] * len(own), own)


def _grid(reader: NeuralTextureReader, g: int, weights: PackedWeights, options: Options, bindings: _Bindings) -> dict:
    """Return what the template says of a grid, and add its bindings."""
    entry, columns = reader.manifest["grids"][g], weights.columns.grids[g]
    curves = reader.curves[g]
    side, stored, fields = entry["max_resolution"], len(reader.grid(g).levels), entry.get("fields")
    gathered = entry["interpolation"] == "gather"
    # Curves come before the blend of taps.
    hardware = options.filter and options.grids == "textures" and not fields and not gathered and curves is None
    names = [f"grid_{g}" if len(entry["files"]) == 1 else f"grid_{g}_{j}" for j in range(len(entry["files"]))]
    texel, fetch, words, quads, filtered = [], [], [], [], ["Real4(0)"] * columns.quads
    per_file = WORD_FORMATS.get(entry["format"], 1)
    if options.grids == "buffers":
        if not fields and entry["format"] != "R8G8B8A8_UNORM":
            raise UserError(f"{entry['format']} cannot be read from buffers; export with --storage packed")
        starts = [sum((side >> k) ** 2 for k in range(level)) for level in range(stored)]
        fetch.append(f"static const int starts[{stored}] = {{ {', '.join(map(str, starts))} }};")
        fetch.append(f"int at = (starts[level] + texel.y * ({side} >> level) + texel.x) * {per_file};")
    position = "int3(texel, level)"
    if options.grids == "atlas":
        if entry["format"] != "R8G8B8A8_UNORM":
            raise UserError(f"an atlas holds RGBA8, not {entry['format']}; export with --storage packed_rgba8")
        fetch.append(f"int2 corner = int2(min(level, 1) * {side}, {side} - ({side} >> max(level - 1, 0)));")
        position = "int3(texel + corner, 0)"
    for j, name in enumerate(names):
        if options.grids == "buffers":
            bindings.add(name, "buffer", "uint", "StructuredBuffer<uint>", entry["files"][j])
            for k in range(per_file):
                texel.append(f"uint word{j}_{k};")
                fetch.append(f"t.word{j}_{k} = {name}[at + {k}];")
                words.append(f"t.word{j}_{k}")
            if not fields:
                quads.append(_channel_quad(f"bytesOf(t.word{j}_0)", entry, 255, j, curves))
        elif entry["format"].endswith("_UINT"):
            kind = f"uint{per_file if per_file > 1 else ''}"
            bindings.add(name, "texture", entry["format"], f"Texture2D<{kind}>", entry["files"][j])
            texel.append(f"{kind} words{j};")
            fetch.append(f"t.words{j} = {name}.Load({position});")
            words += [f"t.words{j}.{_SWIZZLE[k]}" if per_file > 1 else f"t.words{j}" for k in range(per_file)]
        else:
            bindings.add(name, "texture", entry["format"], "Texture2D<float4>", entry["files"][j])
            if fields:
                texel.append(f"uint word{j};")
                fetch.append(f"t.word{j} = wordOfBytes({name}.Load({position}));")
                words.append(f"t.word{j}")
                continue
            texel.append(f"float4 channels{j};")
            fetch.append(f"t.channels{j} = {name}.Load({position});")
            quads.append(_channel_quad(f"t.channels{j}", entry, 1, j, curves))
            if hardware:
                sample = f"{name}.SampleLevel(grid_sampler, uv, float(level))"
                filtered[j] = f"Real4({sample} * {entry['scale']!r} + {entry['offset']!r})"
    kind = "gather" if gathered else "filter" if hardware else "blend"
    return {
        "name": f"Grid{g}",
        "comment": f"{', '.join(entry['files'])}: {entry['format']}, {entry['n_features']} features, {kind} taps.",
        "side": side,
        "levels": stored,
        "quads": columns.quads,
        "products": weights.first.products[g],
        "linear_products": weights.first.linear_products[g],
        "texel": " ".join(texel),
        "fetch": fetch,
        "features": _field_quads(words, fields, curves) if fields else quads,
        "filtered": filtered,
        "hardware": hardware,
        "kind": kind,
    }


_FORMATS = {"float32": "Float32", "float16": "Float16", "int8": "Int8"}


def _first_layers(grids: list[dict], weights: PackedWeights) -> list[dict]:
    """Return the first layer as the template describes it: with places folded in, where there is such a one, and without."""
    chosen: list[tuple[str, PackedFirstLayer]] = [("Layer0", weights.first)]
    if weights.fold:
        chosen.insert(0, ("FoldedLayer", weights.fold.layer))
    layers = []
    for name, layer in chosen:
        folded = name == "FoldedLayer"
        calls = [
            f"{grid['kind']}Taps<{grid['name']}, {name}, P>(location, matrix + {start}, sums);"
            for grid, start in zip(grids, layer.grids)
        ]
        if layer.encoding >= 0:
            calls.append(f"encode<Grid0, {name}, P>(location, sums);")
        what = f"{layer.hidden} outputs" + (
            f", below them {layer.linear} of the linear decoder" if layer.linear else ""
        )
        layers.append(
            {
                "name": name,
                "folded": folded,
                "comment": f"The first layer{', one for each place in a cell' if folded else ''}; {what}.",
                "format": _FORMATS[layer.precision],
                "weights": layer.weights,
                "matrix_words": layer.matrix_words,
                "bias": layer.bias,
                "scale": layer.scale,
                "lod": layer.lod,
                "encoding": layer.encoding,
                "linear_inputs": layer.linear_inputs,
                "activation": layer.activation,
                "calls": calls,
            }
        )
    return layers


def _layer(name: str, layer: PackedLayer, comment: str) -> dict:
    return {
        "name": name,
        "comment": comment,
        "format": _FORMATS[layer.precision],
        "weights": layer.weights,
        "bias": layer.bias,
        "scale": layer.scale,
        "activation": layer.activation,
    }


def _network(manifest: dict, weights: PackedWeights) -> tuple[list[str], list[dict], list[dict]]:
    """Return the statements that run the layers after the first, these layers, and the values of the outputs."""
    layers, steps, before = [], [], weights.first.hidden // 4
    for i, layer in enumerate(weights.layers, start=1):
        layers.append(_layer(f"Layer{i}", layer, f"Layer {i}: {layer.columns} inputs, {layer.rows} outputs."))
        steps.append(f"Real4 y{i}[{layer.rows // 4}];")
        steps.append(f"runLayer<Layer{i}, {before}, {layer.rows // 4}>(y{i - 1}, y{i});")
        before = layer.rows // 4
    row, outputs, last = 0, [], len(weights.layers)
    present = {channel["name"]: channel["present"] for channel in manifest["channels"]}
    for name, count in TEXTURE_CHANNELS.items():
        values = ["0.0f"] * count
        if present[name]:
            places = [f"[{(row + c) // 4}].{_SWIZZLE[(row + c) % 4]}" for c in range(count)]
            values = [f"float(y{last}{place})" + f" + linear{place}" * bool(weights.first.linear) for place in places]
            row += count
        value = values[0] if count == 1 else f"float{count}({', '.join(values)})"
        outputs.append({"name": name, "value": f"saturate({value})" if present[name] else value})
    return steps, layers, outputs


def _weight_word(weights: PackedWeights, options: Options) -> str:
    if options.weights == "buffer":
        word = "weights.Load4(16 * at)" if options.cooperative_vectors else "weights[at]"
        return f"uint4 weightWord(int at) {{ return {word}; }}"
    if options.weights == "words":
        return (
            "uint4 weightWord(int at) "
            f"{{ return weights.Load(int3(at % {WEIGHTS_TEXTURE_WIDTH}, at / {WEIGHTS_TEXTURE_WIDTH}, 0)); }}"
        )
    if options.weights == "texture":
        return (
            "uint4 weightWord(int at)\n{\n"
            f"    int2 first = int2(at % {WEIGHTS_TEXTURE_WIDTH // 4} * 4, at / {WEIGHTS_TEXTURE_WIDTH // 4});\n"
            "    return uint4("
            + ",\n                 ".join(f"wordOfBytes(weights.Load(int3(first + int2({k}, 0), 0)))" for k in range(4))
            + ");\n}"
        )
    words = [weights.data[i : i + WORD_BYTES] for i in range(0, len(weights.data), WORD_BYTES)]
    values = ",\n        ".join(
        _vector([f"{int.from_bytes(word[k : k + 4], 'little')}u" for k in range(0, WORD_BYTES, 4)], "uint")
        for word in words
    )
    return (
        f"static const uint4 WEIGHTS[{len(words)}] = {{\n        {values}\n}};\n"
        "uint4 weightWord(int at) { return WEIGHTS[at]; }"
    )
