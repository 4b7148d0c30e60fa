"""Damage that files come with: bytes flipped, cut, doubled and swapped, fields at their extremes, JSON of other shapes."""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

EXTREMES = (0, 1, 2, 3, 7, 8, 16, 255, 256, 4096, 16384, 16385, 32767, 32768, 65535, 65536)
"""Values of fields; those of the field's own width follow, see `_extreme`."""
WRONG_TEXTS = (
    "",
    "x",
    "..",
    "../outside",
    "../../../../outside.png",
    "/outside",
    "C:\\outside",
    "\\\\server\\share",
    "~/outside",
    "con",
    "NUL.png",
    "aux.",
    "com1 ",
    "trailing. ",
    "a\\b",
    "a:b",
    "nul\0",
    "line\nbreak",
    "\x1b[2Jescape",
    "\ud800",
    "\u202eright to left",
    "岩石",
    "é́" * 100,
    "%s%n{0}{x}",
    "x" * 5000,
    "[" * 2000,
)
WRONG_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    2.5,
    -1e9,
    1e300,
    5e-324,
    math.nan,
    math.inf,
    -math.inf,
    1 << 31,
    1 << 32,
    (1 << 63) - 1,
    1 << 64,
    10**30,
    -(10**400),
    *WRONG_TEXTS,
    [],
    [[]],
    [1] * 5000,
    [None],
    {},
    {"a": {}},
    {"": 0},
    {str(key): key for key in range(3000)},
)


@dataclass(frozen=True)
class Structure:
    """Where the parts of a format lie, so that damage reaches beyond the first check."""

    fields: Callable[[bytes], list[tuple[int, str]]] = lambda data: []
    """Offsets of numbers and how `struct` writes them."""
    chunks: Callable[[bytes], list[tuple[int, int]]] = lambda data: []
    """Starts and ends of the parts that can be doubled, left out or swapped."""
    repair: Callable[[bytes], bytes] = lambda data: data
    """Make the sums fit again that a reader checks first."""


def damaged_bytes(data: bytes, structure: Structure, chance: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """Return a file with one to three kinds of damage; `others` are files of other formats to splice or swap in."""
    result = data
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        action = chance.choice(_ACTIONS)
        result = action(result, structure, chance)
    if others and chance.random() < 0.04:
        other = chance.choice(others)
        cut = chance.randrange(len(other))
        result = chance.choice((other, result[: len(result) // 2] + other[cut:], other[:cut] + result))
    return structure.repair(result) if chance.random() < 0.7 else result


def _flip(data: bytes, _structure: Structure, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 2, 8, 64)) if changed else 0):
        # Half of them among the first bytes, where headers are.
        end = min(len(changed), 160) if chance.random() < 0.5 else len(changed)
        changed[chance.randrange(end)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _field(data: bytes, structure: Structure, chance: random.Random) -> bytes:
    fields = [entry for entry in structure.fields(data) if entry[0] + struct.calcsize(entry[1]) <= len(data)]
    changed = bytearray(data)
    if not fields:
        fields = [(offset, "<I") for offset in range(0, max(min(len(data), 128) - 4, 0), 2)]
    for offset, layout in chance.sample(fields, min(len(fields), chance.choice((1, 1, 2, 4)))):
        struct.pack_into(layout, changed, offset, _extreme(layout, chance))
    return bytes(changed)


def _extreme(layout: str, chance: random.Random) -> float:
    letter, size = layout[-1], struct.calcsize(layout)
    if letter in "efd":
        return chance.choice((0.0, -1.0, 1e4, -1e4, math.nan, math.inf, -math.inf, 6e4))
    if letter.islower():
        return chance.choice((-1, -(1 << (8 * size - 1)), (1 << (8 * size - 1)) - 1, *EXTREMES[: 8 * size]))
    top = (1 << 8 * size) - 1
    return chance.choice((top, top - 1, top >> 1, (top >> 1) + 1, *(value for value in EXTREMES if value <= top)))


def _cut(data: bytes, _structure: Structure, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))] if data else data


def _extend(data: bytes, _structure: Structure, chance: random.Random) -> bytes:
    return data + chance.choice((b"\0" * 4096, chance.randbytes(chance.randrange(1, 4096)), data))


def _fill(data: bytes, _structure: Structure, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    length = min(chance.choice((4, 16, 256, 4096)), len(data) - start)
    filling = chance.choice((b"\0", b"\xff", b"\x80", b"A")) * length
    return data[:start] + filling + data[start + length :]


def _slice(data: bytes, _structure: Structure, chance: random.Random) -> bytes:
    """Double, leave out or move a piece that has nothing to do with the format."""
    low, high = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    to = chance.randrange(len(data) + 1)
    without = data[:low] + data[high:]
    return chance.choice((data[:high] + data[low:], without, without[:to] + data[low:high] + without[to:]))


def _chunk(data: bytes, structure: Structure, chance: random.Random) -> bytes:
    chunks = structure.chunks(data)
    if not chunks:
        return _slice(data, structure, chance)
    start, end = chance.choice(chunks)
    other_start, other_end = chance.choice(chunks)
    part = data[start:end]
    return chance.choice(
        (
            data[:start] + data[end:],
            data[:end] + part * chance.choice((1, 1, 2, 200)) + data[end:],
            data[:other_start] + part + data[other_start:],
            data[:start] + data[other_start:other_end] + data[end:],
            data[:start] + part[: len(part) // 2] + data[end:],
            data[:start] + _flip(part, structure, chance) + data[end:],
        )
    )


_ACTIONS = (_flip, _flip, _field, _field, _field, _field, _cut, _extend, _fill, _slice, _chunk, _chunk, _chunk)


def key_paths(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield every place in nested containers, the root left out."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from key_paths(item, (*path, key))


def damaged_json(value: Any, chance: random.Random, wrong: Sequence[Any] = WRONG_VALUES) -> Any:
    """Return nested plain values with one to three places changed, removed, doubled or added."""
    value = json.loads(json.dumps(value))
    for _ in range(chance.choice((1, 1, 2, 3))):
        paths = list(key_paths(value))
        if not paths:
            return chance.choice(wrong)
        path = chance.choice(paths)
        place = value
        for key in path[:-1]:
            place = place[key]
        key, action = path[-1], chance.randrange(8)
        if action == 0:
            del place[key]
        elif action == 1 and isinstance(place, dict):
            place[chance.choice(WRONG_TEXTS)] = place[key]
        elif action == 1:
            place.insert(key, place[key])
        elif action == 2 and isinstance(place[key], (int, float)) and not isinstance(place[key], bool):
            place[key] = chance.choice(
                (-place[key], place[key] * 2, place[key] + 1, place[key] * 10**9, str(place[key]))
            )
        elif action == 3:
            place[key] = [place[key]]
        elif action == 4:
            other = value
            for step in chance.choice(paths):
                other = other[step]
            place[key] = json.loads(json.dumps(other))
        else:
            place[key] = chance.choice(wrong)
    return value


def json_bytes(value: Any, chance: random.Random) -> bytes:
    """Write plain values as JSON, sometimes as text that is damaged, nested without end or in another encoding."""
    text = json.dumps(value, ensure_ascii=chance.random() < 0.8)
    which = chance.randrange(40)
    if which == 0:
        depth = chance.choice((1000, 100_000))
        text = text[:1] + '"nested": ' + "[" * depth + "]" * depth + ", " + text[1:]
    elif which == 1:
        text = '{"nested": ' * 50_000 + "1" + "}" * 50_000
    elif which == 2:
        return b"\xef\xbb\xbf" + text.encode("utf-8", "surrogatepass")
    elif which == 3:
        return text.encode("utf-16", "surrogatepass")
    elif which == 4:
        text = text[:1] + f'"number": {"9" * chance.choice((400, 6000))}, ' + text[1:]
    data = text.encode("utf-8", "surrogatepass")
    return damaged_bytes(data, Structure(), chance) if which > 34 else data
