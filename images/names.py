"""What a file name says of an image: the maps it holds, what has to be done to them, or what else it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from images.texture_types import OtherMap, PackedMaps, TextureTable, TextureType
from images.words import SHORTEST_JOINED, Word, split_words

PARAMETERS = (
    *("color", "colour", "roughness", "rough", "glossiness", "gloss", "normal", "normals", "weight", "amount"),
    *("strength", "intensity", "factor", "level", "mask", "tint", "thickness", "ior", "anisotropy", "rotation"),
    *("direction", "angle", "depth", "radius", "scale"),
)
"""What names of a lobe's parameters end with: the roughness of coat_roughness."""
_TAGS = frozenset(
    "k px bit bits bpc v ver rev var lod mip png jpg jpeg tga tif tiff exr bmp webp hdr srgb rgb linear lin raw acescg "
    "gl ogl opengl dx directx map maps tex texture tile tiled tileable tiling seamless final copy".split()
)
"""Words that may follow a short suffix, beside numbers."""


@dataclass(frozen=True)
class Detection:
    """What a file name says: the keyword found, the maps it means (None: the whole file, else a channel)."""

    keyword: str
    maps: dict[str, int | None] = field(default_factory=dict)
    other: str = ""
    """What the file is known to be, where it is none of the maps."""
    packed: tuple[str, ...] = ()
    """What R, G, B and A of a packed file are."""
    inverted: frozenset[str] = frozenset()
    """Maps of which the file holds 1 minus their values."""
    directx: bool = False
    convention_named: bool = False
    """The name says opengl or directx."""
    guessed: bool = False
    """Files of such names are often something else."""
    rank: int = 0
    """The place of the keyword among those of its map: files of a lower one are taken."""
    bits: int = 0
    """Bits per value, where the name says so, as in DISP16."""
    beside: str = ""
    """Another map that is named directly before this one, in one word or before a letter alone."""


@dataclass(frozen=True)
class _Entry:
    """One keyword of the table."""

    keyword: str
    meaning: Detection
    breaks: frozenset[int]
    """Letters of the keyword before which a separator may stand."""
    anywhere: bool = False


@dataclass(frozen=True)
class _Lookup:
    """A table, prepared for looking up words."""

    keywords: dict[str, _Entry]
    suffixes: dict[str, _Entry]
    proper_names: frozenset[str]
    known: frozenset[str]
    longest: int
    """Letters of the longest keyword or proper name."""
    directx_words: dict[str, frozenset[str]]
    opengl_words: dict[str, frozenset[str]]


def name_words(file_name: str, table: TextureTable) -> tuple[Word, ...]:
    """Split a file name, without its suffix, into words."""
    lookup = _lookup(tuple(table), table.packed, table.others, table.proper_names)
    return split_words(Path(file_name).stem, lookup.known)


def read_name(file_name: str, table: TextureTable, skipped: int = 0) -> Detection | None:
    """Read what a file name says by its rightmost keyword, None where there is none.

    Of keywords that end at one place the longest wins, so coat_roughness is no roughness. The first `skipped` words
    are left out.
    """
    lookup = _lookup(tuple(table), table.packed, table.others, table.proper_names)
    words = split_words(Path(file_name).stem, lookup.known)[skipped:]
    matches = _matches(words, lookup)
    spelled = _spelled_channels(words, matches)
    if spelled:
        return spelled
    best, found, first = (0, 0), None, 0
    for start, end, entry in matches:
        if entry.anywhere:
            return entry.meaning
        if (end, len(entry.keyword)) > best:
            best, found, first = (end, len(entry.keyword)), entry.meaning, start
    at, suffix = _suffix(words, lookup)
    if suffix and at >= best[0] and not (found and suffix.other):
        found, first, end = suffix, at, at + 1
    else:
        end = best[0]
    if found is None or found.other:
        return found
    found = replace(found, bits=_bits(words, end), beside=_beside(words, first, found, matches))
    return _with_convention(found, words, lookup)


def _matches(words: Sequence[Word], lookup: _Lookup) -> list[tuple[int, int, _Entry]]:
    """Every keyword that words of the name spell, with its first word and the one after its last, in this order."""
    masked: set[int] = set()
    found: list[tuple[int, int, _Entry]] = []
    for start in range(len(words)):
        text, breaks = "", []
        for end in range(start + 1, len(words) + 1):
            if text and words[end - 1].separated:
                breaks.append(len(text))
            text += words[end - 1].text
            if len(text) > lookup.longest:
                break
            if text in lookup.proper_names:
                masked.update(range(start, end))
            entry = lookup.keywords.get(text)
            if entry and entry.breaks.issuperset(breaks):
                found.append((start, end, entry))
    return [match for match in found if not masked.intersection(range(*match[:2]))]


def _spelled_channels(words: Sequence[Word], matches: Sequence[tuple[int, int, _Entry]]) -> Detection | None:
    """Read names that spell what each channel is, as R_rough_G_ao_B_height; None where fewer than two are."""
    ends = {start: (end, entry) for start, end, entry in matches}  # the longest of each start is the last
    for start in range(len(words)):
        contents, at = [], start
        for letter in "rgba":
            if at >= len(words) or words[at].text != letter or not words[at].separated or at + 1 not in ends:
                break
            at, entry = ends[at + 1]
            contents.append(entry)
        if len(contents) > 1:
            meanings = [entry.meaning for entry in contents]
            maps = {name: channel for channel, found in enumerate(meanings) for name in found.maps}
            channels = [
                entry.keyword if found.inverted else " and ".join(found.maps) or found.other
                for entry, found in zip(contents, meanings)
            ]
            inverted = frozenset(name for found in meanings for name in found.inverted)
            return Detection("R_G_B", {**maps}, packed=tuple(channels), inverted=inverted)
    return None


def _suffix(words: Sequence[Word], lookup: _Lookup) -> tuple[int, Detection | None]:
    """Find a short suffix such as the d of `wall_d` or `wall_d_2k`: the place of its word, and what it means."""
    for index in range(len(words) - 1, -1, -1):
        word, rest = words[index], words[index + 1 :]
        if word.separated and word.text in lookup.suffixes and (not rest or rest[0].separated) and _are_tags(rest):
            return index, lookup.suffixes[word.text].meaning
        if word.separated and rest and not rest[0].separated and rest[0].text.isdigit():
            entry = lookup.suffixes.get(word.text + "#" * len(rest[0].text))
            if entry and (_are_tags(rest[1:]) or _are_numbered(rest[1:])):
                return index, entry.meaning
    return -1, None


def _are_tags(words: Sequence[Word]) -> bool:
    """Whether words are numbers, resolutions, versions and the like."""
    for previous, word in zip([None, *words], words):
        after_digits = previous is not None and previous.text.isdigit() and not word.separated
        if not (word.text.isdecimal() or word.text in _TAGS or (word.text == "x" and after_digits)):
            return False
    return True


def _are_numbered(words: Sequence[Word]) -> bool:
    """Whether words are letters with numbers, as the -g100-r100 that may follow _s100."""
    return len(words) % 2 == 0 and all(
        letter.separated and len(letter.text) == 1 and number.text.isdecimal() and not number.separated
        for letter, number in zip(words[::2], words[1::2])
    )


def _bits(words: Sequence[Word], end: int) -> int:
    """Bits per value that a name states behind the keyword that ends before `end`: DISP16, height_16bit."""
    for index in range(end, len(words)):
        joined = index == end and not words[index].separated
        stated = index + 1 < len(words) and words[index + 1].text in ("bit", "bits", "bpc")
        if words[index].text in ("16", "32") and (joined or stated):
            return int(words[index].text)
    return 0


def _beside(words: Sequence[Word], first: int, found: Detection, matches: Sequence[tuple[int, int, _Entry]]) -> str:
    """Name the map that is named directly before the keyword at `first`: in AlbedoRoughness, and in wall_normal_d."""
    if first == 0 or found.packed or (words[first].separated and not found.keyword.startswith("_")):
        return ""
    for _, end, entry in matches:
        if end == first and len(entry.keyword) >= SHORTEST_JOINED and entry.meaning.maps.keys() - found.maps.keys():
            return " and ".join(entry.meaning.maps)
    return ""


def _with_convention(found: Detection, words: Sequence[Word], lookup: _Lookup) -> Detection:
    """Add what the name says of the direction of green."""
    for name in found.maps:
        for end in range(len(words), 0, -1):
            text = ""
            # Digits part words: D3D is three of them.
            for word in reversed(words[:end]):
                text = word.text + text
                if text in lookup.directx_words[name]:
                    return replace(found, directx=True, convention_named=True)
                if text in lookup.opengl_words[name]:
                    return replace(found, convention_named=True)
                if word.separated:
                    break
    return found


@lru_cache(maxsize=8)
def _lookup(
    types: tuple[TextureType, ...],
    packed: tuple[PackedMaps, ...],
    others: tuple[OtherMap, ...],
    proper_names: tuple[str, ...],
) -> _Lookup:
    """Prepare a table; where two rows have one keyword, types come before packed files and other maps last."""
    keywords: dict[str, _Entry] = {}
    suffixes: dict[str, _Entry] = {}

    def add(keyword: str, meaning: Detection, anywhere: bool = False) -> None:
        parts = re.split(r"[_\-. ]", keyword.lower())
        breaks = frozenset(len("".join(parts[:count])) for count in range(1, len(parts)))
        entry = _Entry(keyword, replace(meaning, keyword=keyword), breaks, anywhere)
        known = keywords.setdefault("".join(parts), entry)
        if known.meaning.maps == meaning.maps and known.meaning.other == meaning.other:
            keywords["".join(parts)] = replace(known, breaks=known.breaks | breaks)

    def add_suffix(suffix: str, meaning: Detection) -> None:
        suffixes.setdefault(suffix, _Entry(suffix, replace(meaning, keyword=f"_{suffix}"), frozenset()))

    for texture in types:
        meaning = Detection("", {texture.name: None})
        ranks = [*((keyword, 0) for keyword in texture.keywords)]
        ranks += [(keyword, rank) for rank, keyword in enumerate((*texture.lesser, *texture.inverted), 1)]
        for keyword, rank in ranks:
            inverted = frozenset([texture.name] if keyword in texture.inverted else [])
            add(keyword, replace(meaning, rank=rank, inverted=inverted, guessed=keyword in texture.guessed))
        for suffix in texture.suffixes:
            add_suffix(suffix, meaning)
    inverted_names = {keyword: texture.name for texture in types for keyword in texture.inverted}
    names = {texture.name for texture in types}
    for row in packed:
        held: dict[str, int | None] = {}
        for channel, content in enumerate(row.channels):
            name = inverted_names.get(content, content)
            if name in names:
                held[name] = None if name in held else channel
        maps = {texture.name: held[texture.name] for texture in types if texture.name in held}
        inverted = frozenset(inverted_names[content] for content in row.channels if content in inverted_names)
        for keyword in row.keywords:
            add(keyword, Detection("", maps, packed=row.channels, inverted=inverted))
    for other in others:
        meaning = Detection("", other=other.name)
        spelled = (f"{word}_{parameter}" for word in other.qualifiers for parameter in PARAMETERS)
        for keyword in (*other.keywords, *spelled):
            add(keyword, meaning, other.anywhere)
        for suffix in other.suffixes:
            add_suffix(suffix, meaning)
    proper = frozenset(proper_names)
    return _Lookup(
        keywords,
        suffixes,
        proper,
        frozenset(keywords) | proper,
        max(map(len, (*keywords, *proper)), default=0),
        {texture.name: frozenset(texture.directx_words) for texture in types},
        {texture.name: frozenset(texture.opengl_words) for texture in types},
    )
