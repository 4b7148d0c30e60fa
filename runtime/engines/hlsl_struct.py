"""The decoder's HLSL as one struct, for engines that put a material's code inside a function or beside other code.

    resources, constants, structs, functions  -->  structs, struct NAME { resources; functions }

The resources become members that the caller sets, so nothing is global and several materials fit into one shader.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

FUNCTIONS = (
    "NeuralTexture_Load",
    "NeuralTexture_Sample",
    "NeuralTexture_SampleTrilinear",
    "NeuralTexture_SampleStochastic",
)
SAMPLE = "NeuralTextureSample"
_TOKEN = re.compile(r"//[^\n]*|/\*.*?\*/|^[ \t]*#(?:\\\n|[^\n])*|[A-Za-z_]\w*|\d[\w.]*|\s+|.", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"[A-Za-z_]\w*")
_OPEN, _CLOSE = set("([{"), set(")]}")
_ARRAY_SIZE = re.compile(r"\[int\((\d+)\)\]")


@dataclass(frozen=True)
class Declaration:
    """What stands at the top level of a source."""

    kind: str
    """function, struct, constant, resource or buffer (a cbuffer)."""
    name: str
    text: str
    words: frozenset[str]
    """All identifiers in it."""


@dataclass(frozen=True)
class HlslStruct:
    """A decoder as a struct."""

    name: str
    sample: str
    """The type that its functions return."""
    types: str
    """Declarations of the structs and constants that it uses, to stand before it."""
    resources: list[str]
    """Names of the members that the caller sets."""
    members: str
    """Declarations of resources and functions, what stands between the struct's braces."""

    def text(self, more_members: str = "") -> str:
        """Return all declarations; `more_members` go into the struct behind the others."""
        return f"{self.types}\nstruct {self.name}\n{{\n{self.members}{more_members}}};\n"


def declarations(code: str) -> list[Declaration]:
    """Split HLSL into what it declares; comments and preprocessor lines are left out.

    >>> [(d.kind, d.name) for d in declarations("Texture2D<float4 > t : register(t0);\\nfloat f(int2 p) { return 1; }")]
    [('resource', 't'), ('function', 'f')]
    """
    found, parts, depth, has_body = [], [], 0, False
    for match in _TOKEN.finditer(code):
        token = match[0]
        if token.startswith(("//", "/*")) or token.lstrip(" \t").startswith("#"):
            continue
        parts.append(token)
        if token in _OPEN:
            has_body |= token == "{" and depth == 0
            depth += 1
        elif token in _CLOSE:
            depth -= 1
        if depth:
            continue
        first = next((part for part in parts if _WORD.match(part)), "")
        if token == ";" or (token == "}" and first not in ("struct", "static")):
            found.append(_declaration("".join(parts).strip(), first, has_body))
            parts, has_body = [], False
    return found


def _declaration(text: str, first: str, has_body: bool) -> Declaration:
    words = frozenset(_WORD.findall(text))
    if first in ("struct", "cbuffer"):
        name = _WORD.findall(text)[1]
        return Declaration("struct" if first == "struct" else "buffer", name, text, words)
    if first == "static":
        before = re.split(r"[=\[]", text, maxsplit=1)[0]
        return Declaration("constant", _WORD.findall(before)[-1], text, words)
    if has_body:
        plain = re.sub(r"^(\s*\[[^\]]*\])+", "", text)
        return Declaration("function", _WORD.findall(plain.split("(", 1)[0])[-1], text, words)
    return Declaration("resource", _WORD.findall(text.split(":", 1)[0])[-1], text, words)


def hlsl_struct(code: str, name: str, functions: Sequence[str] = FUNCTIONS, in_function: bool = False) -> HlslStruct:
    """Return the HLSL of `runtime.shaders.generate` as a struct `name` with these of its functions, and what they use.

    Types and constants get the struct's name in front and stand before it. `in_function`: the struct will stand in a
    function, where its own functions cannot see such constants, so these go into the functions that use them. (Not
    so elsewhere: DXC takes a constant in a function of a global struct for one from outside.)
    """
    known = {entry.name: entry for entry in declarations(code)}
    used, waiting = set(), list(functions)
    while waiting:
        entry = known[waiting.pop()]
        if entry.name not in used:
            used.add(entry.name)
            waiting += [word for word in entry.words if word in known]
    kept = [entry for entry in known.values() if entry.name in used]
    apart = ("struct",) if in_function else ("struct", "constant")
    renamed = {entry.name: f"{name}_{entry.name}" for entry in kept if entry.kind in apart}
    renamed[SAMPLE] = f"{name}Sample"
    constants = {entry.name: entry for entry in kept if entry.kind == "constant" and in_function}

    def finished(text: str) -> str:
        text = _WORD.sub(lambda match: renamed.get(match[0], match[0]), text)
        return _ARRAY_SIZE.sub(r"[\1]", text)

    resources = [entry for entry in kept if entry.kind == "resource"]
    members = [f"    {finished(entry.text.split(':', 1)[0].strip(' ;'))};\n" for entry in resources]
    for entry in kept:
        if entry.kind == "function":
            own = [constants[word].text for word in sorted(entry.words & constants.keys())]
            head, body = entry.text.split("{", 1)
            text = head + "{" + "".join(f"\n    {constant}" for constant in own) + body
            members.append("\n" + _indented(finished(text)) + "\n")
    types = "\n".join(finished(entry.text) + "\n" for entry in kept if entry.kind in apart)
    return HlslStruct(name, renamed[SAMPLE], types, [entry.name for entry in resources], "".join(members))


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else line for line in text.splitlines())
