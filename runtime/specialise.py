"""One material's constants, bindings, grids and layers as Slang source: what `neural_texture.slang` is specialised by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from configs import TEXTURE_CHANNELS
from formats.fields import WORD_FORMATS
from formats.names import plain_name
from formats.reader import NeuralTextureReader
from runtime.texts import template
from runtime.weights import WORD_BYTES, WORD_WEIGHTS, PackedLayer, PackedWeights
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
    encoding = manifest["positional_encoding"]
    products = (manifest.get("position_order", 0) + 1) ** 2 - 1
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
        product_count=products if any(first >= 0 for first, _ in weights.products) else 0,
        encoding_quads=weights.encoding_quads,
        encoding_start=weights.input_quads - weights.encoding_quads,
        fold=weights.fold,
        bindings=bindings.all,
        group=options.group,
        bake=options.bake,
        decode=options.decode,
        weight_word=_weight_word(weights, options),
        grids=grids,
        layers=layers,
        input_calls=[grid["call"] for grid in grids] + [f"encode<Grid0, P, {_input_size(weights)}>(location, x);"],
        input_quads=_input_size(weights),
        used_quads=weights.input_quads,
        steps=steps,
        outputs=outputs,
    )
    return Specialised(source, bindings.all, _macs(weights))


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


def _field_quads(words: list[str], fields: list[dict]) -> list[str]:
    """Return one expression for every four features that lie as bit fields in `words`."""
    quads = []
    for first in range(0, len(fields), 4):
        used = fields[first : first + 4]
        part = (4 * used)[:4]
        word = _vector([words[entry["word"]] for entry in part], "uint")
        shift = _vector([f"{entry['shift']}u" for entry in part], "uint")
        mask = _vector([f"{(1 << entry['bits']) - 1}u" for entry in part], "uint")
        scales = [2.0 ** -entry["bits"] if i < len(used) else 0.0 for i, entry in enumerate(part)]
        offsets = [-(2 ** entry["bits"] - 1) / 2 * scale for entry, scale in zip(part, scales)]
        quads.append(
            f"Real4(float4(({word} >> {shift}) & {mask}) * {_vector(scales, 'float')} + {_vector(offsets, 'float')})"
        )
    return quads


def _grid(reader: NeuralTextureReader, g: int, weights: PackedWeights, options: Options, bindings: _Bindings) -> dict:
    """Return what the template says of a grid, and add its bindings."""
    entry, columns = reader.manifest["grids"][g], weights.columns[g]
    side, stored, fields = entry["max_resolution"], len(reader.grid(g).levels), entry.get("fields")
    gathered = entry["interpolation"] == "gather"
    hardware = options.filter and options.grids == "textures" and not fields and not gathered
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
                quads.append(f"Real4(bytesOf(t.word{j}_0) * {entry['scale'] / 255!r} + {entry['offset']!r})")
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
            quads.append(f"Real4(t.channels{j} * {entry['scale']!r} + {entry['offset']!r})")
            if hardware:
                sample = f"{name}.SampleLevel(grid_sampler, uv, float(level))"
                filtered[j] = f"Real4({sample} * {entry['scale']!r} + {entry['offset']!r})"
    kind = "gather" if gathered else "filter" if hardware else "blend"
    products, stride = weights.products[g]
    return {
        "name": f"Grid{g}",
        "comment": f"{', '.join(entry['files'])}: {entry['format']}, {entry['n_features']} features, {kind} taps.",
        "side": side,
        "levels": stored,
        "quads": columns.quads,
        "products": products,
        "product_stride": stride,
        "start": columns.start,
        "texel": " ".join(texel),
        "fetch": fetch,
        "features": _field_quads(words, fields) if fields else quads,
        "filtered": filtered,
        "hardware": hardware,
        "call": f"{kind}Taps<Grid{g}, P, {_input_size(weights)}>(location, x);",
    }


def _quads_read(layer: PackedLayer) -> int:
    """Quads of inputs that a layer's rows reach, the padding of their last words included."""
    return layer.stride * WORD_WEIGHTS[layer.precision] // 4


def _input_size(weights: PackedWeights) -> int:
    return max(_quads_read(layer) for layer in [weights.layers[0]] + ([weights.fold.layer] if weights.fold else []))


def _layer(name: str, layer: PackedLayer, comment: str) -> dict:
    return {
        "name": name,
        "comment": comment,
        "format": {"float32": "Float32", "float16": "Float16", "int8": "Int8"}[layer.precision],
        "rows": layer.rows,
        "quads": layer.columns // 4,
        "stride": layer.stride,
        "weights": layer.weights,
        "bias": layer.bias,
        "scale": layer.scale,
        "activation": layer.activation,
    }


def _network(manifest: dict, weights: PackedWeights) -> tuple[list[str], list[dict], list[dict]]:
    """Return the statements that run the layers, the layers, and the values of the outputs."""
    size = _input_size(weights)
    layers = [
        _layer(f"Layer{i}", layer, f"Layer {i}: {layer.columns} inputs, {layer.rows} outputs.")
        for i, layer in enumerate(weights.layers)
    ]
    if weights.fold:
        layers.append(
            _layer(
                "FoldedLayer",
                weights.fold.layer,
                "The first layer with the place in a cell folded in: one matrix a place.",
            )
        )
    steps, length = [], size
    for i, layer in enumerate(weights.layers):
        previous = length
        length = _quads_read(weights.layers[i + 1]) if i + 1 < len(weights.layers) else layer.rows // 4
        steps.append(f"Real4 y{i}[{length}];")
        if i:
            steps.append(f"runLayer<Layer{i}, {previous}, {length}>(y{i - 1}, y{i});")
        elif weights.fold:
            steps.append(f"if (P.FOLDED) runFirstLayer<FoldedLayer, P, {size}, {length}>(location, x, y0);")
            steps.append(f"else runFirstLayer<Layer0, P, {size}, {length}>(location, x, y0);")
        else:
            steps.append(f"runFirstLayer<Layer0, P, {size}, {length}>(location, x, y0);")
    row, outputs, last = 0, [], len(weights.layers) - 1
    present = {channel["name"]: channel["present"] for channel in manifest["channels"]}
    for name, count in TEXTURE_CHANNELS.items():
        values = ["0.0f"] * count
        if present[name]:
            values = [f"float(y{last}[{(row + c) // 4}].{_SWIZZLE[(row + c) % 4]})" for c in range(count)]
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


def _macs(weights: PackedWeights) -> dict[str, int]:
    """Count what the generated code multiplies and adds: rows and inputs as they are padded."""
    rest = sum(layer.rows * 4 * _quads_read(layer) for layer in weights.layers[1:])
    first = weights.layers[0]
    products = sum(
        first.rows * 4 * columns.quads * columns.taps * len(columns.products)
        for columns, (start, _) in zip(weights.columns, weights.products)
        if start >= 0
    )
    point = first.rows * 4 * _quads_read(first) + products + rest
    texel = weights.fold.layer.rows * 4 * _quads_read(weights.fold.layer) + rest if weights.fold else point
    return {"texel": texel, "point": point}
