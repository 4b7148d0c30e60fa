"""The generated GLSL as Godot's shading language: what its compiler does not know is taken out or written otherwise."""

from __future__ import annotations

import re

from formats.reader import NeuralTextureReader
from runtime.engines.shader_source import closing, rename
from runtime.shaders import Shader, generate
from runtime.specialise import Options

_TOP_NAME = re.compile(r"^(?:struct\s+(\w+)|const\s+\w+\s+(\w+)\[|\w+\s+(\w+)\s*\()", re.MULTILINE)
_TEXTURE = re.compile(r"layout\(binding = \d+\)\s*uniform texture2D (\w+);\s*")
_BLOCK = re.compile(r"layout\([^)]*\)\s*(?:layout\([^)]*\)\s*)?(?:readonly )?(?:uniform|buffer) (\w+)\s*\{")
_ENDLESS = re.compile(r"for\(;;\)\s*\{\s*if\(([^\n]*)\)\s*\{\s*\}\s*else\s*\{\s*break;\s*\}")
_FETCH = re.compile(r"texelFetch\(\((\w+)\), \(\((\w+)\)\)\.xy, \(\(\w+\)\)\.z\)")
_MINIMUM = re.compile(r"\bmin\((\d+), (\d+)\)")
_ARRAY = re.compile(r"\[(\d+)\] = (\w+)\[\]\(")


def gdshader_decoder(reader: NeuralTextureReader, prefix: str) -> tuple[Shader, str]:
    """Return an export's decoder and its source for a `.gdshaderinc`; every global name in it begins with `prefix`.

    Its grids are those of the storage `packed_rgba8`, its weights an RGBA8 texture. Godot's language has no buffers,
    no integer textures from files, no operators between whole numbers with and without sign.
    """
    shader = generate(reader, "glsl", Options(weights="texture", filter=False, bake=False, decode=True))
    code = shader.text
    start = code.index("layout(local_size_x")
    code = code[:start] + code[closing(code, code.index("{", start)) + 1 :]
    code = re.sub(r"^#.*\n", "", code, flags=re.MULTILINE)
    code = re.sub(r"^layout\(row_major\) \w+;\n", "", code, flags=re.MULTILINE)
    textures = _TEXTURE.findall(code)
    code = _TEXTURE.sub("", code)
    while match := _BLOCK.search(code):
        end = code.index(";", closing(code, match.end() - 1))
        code = code[: match.start()] + code[end + 1 :]
    for name in ("DecodeSettings_0", "DecodePoint"):
        start = code.index(f"struct {name}")
        code = code[:start] + code[code.index("};", start) + 2 :]
    code = _FETCH.sub(r"texelFetch(\1, \2.xy, \2.z)", code)
    code = re.sub(r"\[\[[\w, ]+\]\]\s*", "", code)
    code = _ENDLESS.sub(r"while (\1)\n    {", code)
    code = _ARRAY.sub(r"[\1] = \2[\1](", code)
    # Godot works constants out by itself, not all of these, and takes the lesser of two whole numbers for a float.
    code = _MINIMUM.sub(lambda found: str(min(int(found[1]), int(found[2]))), code)
    code = re.sub(r"^([ \t]+)const ", r"\1", code, flags=re.MULTILINE)
    code = re.sub(r"\b(\d+)U\b", r"\1u", code)
    names = {name for found in _TOP_NAME.findall(code) for name in found if name}
    code = rename(code, {name: f"{prefix}{name}" for name in [*names, *textures]})
    uniforms = [f"uniform sampler2D {prefix}{name} : filter_nearest_mipmap, repeat_disable;" for name in textures]
    return shader, "\n".join(uniforms) + "\n\n" + re.sub(r"\n{3,}", "\n\n", code).strip() + "\n"
