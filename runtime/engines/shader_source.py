"""Generated WGSL and GLSL taken apart at their outermost level, and functions that get their resources as parameters."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = re.compile(r"\b[A-Za-z_]\w*\b")
_FUNCTION = re.compile(r"\bfn\s+([A-Za-z_]\w*)\s*\(")
_RESOURCE = re.compile(r"@binding\(\d+\)\s*@group\(\d+\)\s*var(?:<[^>]*>)?\s+([A-Za-z_]\w*)\s*:\s*([^;]+);")
_GLOBAL = re.compile(r"^(?:fn|struct|const|var<private>)\s+([A-Za-z_]\w*)", re.MULTILINE)
_OPEN, _CLOSED = "([{", ")]}"


def closing(code: str, start: int) -> int:
    """Return the index of the bracket that closes the one at `start`; raises `ValueError` where there is none."""
    depth = 0
    for index in range(start, len(code)):
        if code[index] in _OPEN:
            depth += 1
        elif code[index] in _CLOSED:
            depth -= 1
            if not depth:
                return index
    raise ValueError(f"bracket at {start} is not closed")


def rename(code: str, changes: dict[str, str]) -> str:
    """Return code with whole words changed."""
    return _WORD.sub(lambda match: changes.get(match[0], match[0]), code)


@dataclass(frozen=True)
class Resource:
    """A texture or buffer at module scope."""

    name: str
    type: str


@dataclass(frozen=True)
class WgslFunctions:
    """WGSL without resources at module scope."""

    code: str
    resources: list[Resource]
    """In the order in which functions take those that they use, after their own parameters."""


def with_resources_as_parameters(code: str) -> WgslFunctions:
    """Return WGSL whose functions get the resources that they, or what they call, use as last parameters."""
    resources = [Resource(match[1], match[2].strip()) for match in _RESOURCE.finditer(code)]
    code = _RESOURCE.sub("", code).strip() + "\n"
    bodies = {}
    for match in _FUNCTION.finditer(code):
        start = code.index("{", closing(code, match.end() - 1))
        bodies[match[1]] = set(_WORD.findall(code[start : closing(code, start)]))
    names = {resource.name for resource in resources}
    used = {name: words & names for name, words in bodies.items()}
    changed = True
    while changed:
        before = sum(map(len, used.values()))
        for name, words in bodies.items():
            used[name] |= {resource for called in words & used.keys() for resource in used[called]}
        changed = sum(map(len, used.values())) != before
    for name in bodies:
        own = [resource for resource in resources if resource.name in used[name]]
        if own:
            code = _with_arguments(code, name, own)
    return WgslFunctions(code, resources)


def _with_arguments(code: str, function: str, resources: list[Resource]) -> str:
    """Append parameters to a function's declaration and arguments to all its calls."""
    ends = []
    for match in re.finditer(rf"\b{function}\s*\(", code):
        is_declaration = code[: match.start()].rstrip().endswith("fn")
        ends.append((closing(code, match.end() - 1), match.end(), is_declaration))
    # From the last on, so that what lies before keeps its place; brackets nest, hence by their ends.
    for end, start, is_declaration in sorted(ends, reverse=True):
        texts = [f"{r.name} : {r.type}" if is_declaration else r.name for r in resources]
        separator = ", " if code[start:end].strip() else ""
        code = code[:end] + separator + ", ".join(texts) + code[end:]
    return code


def with_prefix(code: str, prefix: str) -> str:
    """Return WGSL whose functions, structs and constants at module scope have names that begin with `prefix`."""
    return rename(code, {name: f"{prefix}{name}" for name in _GLOBAL.findall(code)})
