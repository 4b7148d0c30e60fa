"""What pydantic finds wrong with values from a file, in one line that every console can print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_SHOWN = 60
"""Characters of a wrong value that a message shows."""
_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "finite_number": "a finite number",
    "int_parsing_size": "a whole number",
    "string_pattern_mismatch": "64 hexadecimal digits",
    "string_unicode": "a text",
}
"""What a value should have been, by pydantic's name of the error."""
_LIMITS = {
    "greater_than_equal": ("at least", "ge", ""),
    "less_than_equal": ("at most", "le", ""),
    "too_short": ("at least", "min_length", " entries"),
    "too_long": ("at most", "max_length", " entries"),
    "string_too_short": ("at least", "min_length", " characters"),
    "string_too_long": ("at most", "max_length", " characters"),
}
"""Words, pydantic's name of the limit, and its unit, by pydantic's name of the error."""


def shortened(text: str) -> str:
    """Cut a text that is too long for a message."""
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def dotted(place: Sequence[str | int]) -> str:
    """Write where in a file a value stands, such as grids[0].files[1], as every console can print it."""
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
    # Names in it may come from the file.
    return shortened(ascii(where)[1:-1])


def error_message(error: Mapping) -> str:
    """Say in one line which key a pydantic error is about, what was found and what is expected."""
    where, context = dotted(error["loc"]), error.get("ctx", {})
    if error["type"] == "missing":
        return f"the key {where} is missing"
    if error["type"] == "value_error" and not isinstance(error["input"], str):
        return f"{where}: {context['error']}" if where else str(context["error"])
    if error["type"] in _LIMITS:
        words, limit, unit = _LIMITS[error["type"]]
        expected = f"{words} {context[limit]}{unit}"
    elif error["type"] == "literal_error":
        expected = f"one of {context['expected'].replace(' or ', ', ')}"
    elif error["type"] == "value_error":
        expected = str(context["error"])
    else:
        expected = _EXPECTED.get(error["type"]) or error["msg"]
    return f"{where or 'the file'} is {shown(error['input'])}, expected {expected}"


def shown(value: object) -> str:
    """Write a wrong value on one line that every console can print."""
    if isinstance(value, (list, dict)):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)} entries"
    if isinstance(value, int) and abs(value) >= 1 << 128:
        return "a number of over 38 digits"
    return shortened(ascii(value))
