"""Names of files and identifiers that are made from a material's name."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from utils.errors import UsageError

LONGEST_PREFIX = 64
"""Characters of a name that file names begin with."""
_RESERVED = re.compile(r"con|prn|aux|nul|com\d|lpt\d", re.IGNORECASE)
"""Names that Windows keeps for devices."""


def file_prefix(name: str) -> str:
    """Return a material's name as an identifier that file names and engines can begin with.

    ASCII letters, digits and underscores, no digit first, at most `LONGEST_PREFIX` characters. Accents are dropped.
    Where letters of other scripts are left out or a long name is cut, eight digits of the name's hash follow, so that
    two names still differ. A name without letters and digits is refused with `UsageError`.

    >>> file_prefix("Brick wall, 2K (n\u00e4sse)"), file_prefix("03 rust"), file_prefix("\u5ca9\u77f3")
    ('Brick_wall_2K_nasse', 'm_03_rust', 'm_9074f394')
    """
    folded = [sign for sign in unicodedata.normalize("NFKD", name) if not unicodedata.combining(sign)]
    kept = "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in folded)
    prefix = re.sub(r"_+", "_", kept).strip("_")
    if not any(sign.isalnum() for sign in folded):
        raise UsageError(f"{ascii(name[:60])} gives no name for files; use letters or digits")
    if len(prefix) > LONGEST_PREFIX or any(sign.isalnum() and not sign.isascii() for sign in folded):
        digits = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
        prefix = f"{prefix[: LONGEST_PREFIX - 12].rstrip('_') or 'm'}_{digits}"
    return f"m_{prefix}" if prefix[0].isdigit() or _RESERVED.fullmatch(prefix) else prefix


def material_prefix(name: str) -> str:
    """Return `file_prefix` of a material's own name, or `material` where it gives none.

    >>> material_prefix("Mossy rock-02"), material_prefix("../..")
    ('Mossy_rock_02', 'material')
    """
    try:
        return file_prefix(name)
    except UsageError:
        return "material"


def plain_name(name: object, ascii_only: bool = True) -> str:
    """Return a material's name for a comment in a source, or for a line of Markdown: without line breaks and markup.

    >>> plain_name("rust\\n*/ `x` | 岩"), plain_name("岩 `x`", ascii_only=False)
    ('rust?*? ?x? ? ?', '岩 ?x?')
    """
    kept = "".join(sign if sign.isprintable() and (sign.isascii() or not ascii_only) else "?" for sign in str(name))
    return re.sub(r"[\\\\`|<>/]", "?", kept) or "material"
