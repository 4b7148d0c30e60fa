"""Names of files and identifiers that are made from a material's name."""

from __future__ import annotations

import re
import unicodedata

MOST_CHARACTERS = 64
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)


def file_prefix(name: object) -> str:
    """Return a material's name as ASCII letters, digits and underscores, or `material` where none are left.

    It can begin a file name on every system and an identifier of a shader.

    >>> file_prefix("Mossy rock-02"), file_prefix("Béton"), file_prefix("2k_wall"), file_prefix("../..")
    ('Mossy_rock_02', 'Beton', 'material_2k_wall', 'material')
    """
    plain = unicodedata.normalize("NFKD", str(name)).encode("ascii", "ignore").decode()
    words = re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_")[:MOST_CHARACTERS].strip("_")
    if not words:
        return "material"
    # No identifier starts with a digit, and Windows has no file called con.
    return f"material_{words}" if words[0].isdigit() or _RESERVED.fullmatch(words) else words
