"""Text from outside, such as names of files, as one line that every terminal shows as it is."""

from __future__ import annotations

_MOST = 1000


def one_line(text: str, most: int = _MOST) -> str:
    """Return a text as one printable line of at most about `most` characters, its middle left out where it is longer.

    Whatever cannot be printed, such as a line break or the start of a terminal's command, becomes its escape sequence.

    >>> one_line("rock\\n_albedo.png"), one_line("岩石"), one_line("x" * 50, 20)
    ('rock\\\\n_albedo.png', '岩石', 'xxxxxxxxxxxxxxx ... xxxxx')
    """
    if len(text) > most:
        text = f"{text[: most - most // 4]} ... {text[-(most // 4) :]}"
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)
