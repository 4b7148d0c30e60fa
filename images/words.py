"""The words of a file name: by separators, digits, changes of case and script, and within words that are joined."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container
from dataclasses import dataclass
from functools import cache, lru_cache

SHORTEST_JOINED = 5
"""Letters of the shortest keyword that counts within a longer run of letters."""
_SURE_JOINED = 6
"""Letters of the shortest keyword that counts behind letters that are no known word, as in the xq of xqalbedo: chance
and names of places make shorter ones (yarborough)."""
_SHORTEST_WORD = 3
"""Letters of the shortest word of the dictionary that is looked for within joined words."""
_ENDINGS = frozenset(("able", "ably", "ability", "ing", "less", "like", "man", "men", "ness", "some", "wise"))
"""Words that are none of their own behind another: depthless is no depth map."""
_LONGEST_JOINED = 40
"""Letters of the longest run that is looked into."""
QUALIFIERS = ("opengl", "ogl", "gl", "directx", "dx", "texture", "tex", "maps", "map")
"""Words that are often joined to a keyword and change nothing of the map that it means."""
_QUALIFIED = re.compile(rf"(?:{'|'.join(QUALIFIERS)})*")


@dataclass(frozen=True)
class Word:
    """One word of a name, in lower case."""

    text: str
    separated: bool
    """Whether a separator, or the name's beginning, stands before it, rather than a mere change of case or script."""


@lru_cache(maxsize=4096)
def split_words(stem: str, keywords: frozenset[str]) -> tuple[Word, ...]:
    """Split the stem of a file name into words; `keywords` are found within joined words, others are not.

    A run of letters is split where what remains beside a keyword are words of their own, so that through, Colorado and
    watercolor, which are words themselves, hold no keyword, and wallroughness does.

    >>> [word.text for word in split_words("T_Through-wallroughness2K", frozenset(("roughness", "rough")))]
    ['t', 'through', 'wall', 'roughness', '2', 'k']
    """
    words: list[Word] = []
    for text, separated in _pieces(stem):
        if words and not separated and words[-1].text + text in QUALIFIERS:
            words[-1] = Word(words[-1].text + text, words[-1].separated)  # DirectX, OpenGL
            continue
        for index, part in enumerate(_joined_words(text, keywords)):
            words.append(Word(part, separated and index == 0))
    return tuple(words)


def _pieces(stem: str) -> list[tuple[str, bool]]:
    """Runs of letters of one word or of digits, in lower case, and whether a separator stands before each."""
    stem = unicodedata.normalize("NFKC", stem)
    pieces: list[tuple[str, bool]] = []
    text, separated = "", True
    for index, character in enumerate(stem):
        if not (character.isalnum() or unicodedata.category(character).startswith("M")):
            if text:
                pieces.append((text, separated))
            text, separated = "", True
            continue
        if text and _is_cut(stem, index):
            pieces.append((text, separated))
            text, separated = "", False
        lower = character.lower()
        text += lower if len(lower) == 1 else character
    return [*pieces, (text, separated)] if text else pieces


def _is_cut(stem: str, index: int) -> bool:
    """Whether a word ends between the two letters or digits before and at `index`."""
    before, after = stem[index - 1], stem[index]
    if before.isdigit() or after.isdigit():
        return before.isdigit() != after.isdigit()
    if before.islower() and after.isupper():
        return True
    if before.isupper() and after.isupper() and stem[index + 1 : index + 2].islower():
        return True
    return after.isalpha() and before.isalpha() and _is_latin(before) != _is_latin(after)


def _is_latin(letter: str) -> bool:
    return letter.isascii() or unicodedata.name(letter, "").startswith("LATIN")


@lru_cache(maxsize=4096)
def _joined_words(text: str, keywords: frozenset[str]) -> tuple[str, ...]:
    """Split a run of letters at the keywords that are joined in it, where it splits into the fewest words so."""
    if text in keywords or not text.isalpha():
        return (text,)
    for keyword in sorted((one for one in keywords if one in text), key=len, reverse=True):
        before, after = text.split(keyword, 1)
        if _QUALIFIED.fullmatch(before) and _QUALIFIED.fullmatch(after):
            return (*_qualifiers(before), keyword, *_qualifiers(after))
    long = frozenset(one for one in keywords if len(one) >= SHORTEST_JOINED and one in text)
    if not long or len(text) > _LONGEST_JOINED or _is_english(text):
        return (text,)
    parts = _fewest_words(text, long)
    for index, part in enumerate(parts):
        before_known = index == 0 or _is_known(parts[index - 1], long)
        if part in long and (
            not (before_known or len(part) >= _SURE_JOINED)
            or not all(_is_known(after, long) for after in parts[index + 1 :])
        ):
            return (text,)
    found: list[str] = []
    for index, part in enumerate(parts):
        alone = part in long or part in QUALIFIERS or parts[max(index - 1, 0)] in (*long, *QUALIFIERS)
        if found and not alone:
            found[-1] += part
        else:
            found.append(part)
    return tuple(found)


def _qualifiers(text: str) -> list[str]:
    return re.findall("|".join(QUALIFIERS), text)


def _is_known(part: str, keywords: Container[str]) -> bool:
    if part in keywords or part in QUALIFIERS:
        return True
    return len(part) >= _SHORTEST_WORD and part not in _ENDINGS and _is_english(part)


def _is_english(text: str) -> bool:
    return text.replace("colour", "color") in _dictionary()


def _fewest_words(text: str, keywords: Container[str]) -> tuple[str, ...]:
    """Words whose joining is `text`: each known one costs 1, letters between them one each and 1.

    Of equal ones, that with a keyword at the end is taken before that without, and this before that with a keyword
    elsewhere: what a name is about stands last in English, and coloradored is Colorado red.
    """
    best: list[tuple[float, tuple[str, ...]]] = [(0, ())]
    for end in range(1, len(text) + 1):
        readings = []
        for start, (cost, parts) in enumerate(best):
            part = text[start:end]
            own = 1.0 if _is_known(part, keywords) else 1.0 + end - start
            if part in keywords:
                own += -0.25 if end == len(text) else 0.25
            readings.append((cost + own, (*parts, part)))
        best.append(min(readings))
    return best[-1][1]


@cache
def _dictionary() -> Container[str]:
    """English words in American spelling, names of places among them; read where a keyword is joined to letters."""
    from spellchecker import SpellChecker

    return SpellChecker(language="en").word_frequency.dictionary
