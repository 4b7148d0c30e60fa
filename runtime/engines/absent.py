"""What stands for a map that a material does not have: the same in every package, as glTF and `--bake` have it."""

from __future__ import annotations

NEUTRAL = {
    "diffuse": "1.0",
    "normal": "0.0, 0.0, 1.0",
    "roughness": "1.0",
    "occlusion": "1.0",
    "metallic": "0.0",
    "specular": "0.5",
    "displacement": "0.5",
}
"""Numbers as shaders write them; the normal is a tangent-space vector."""
_TEXTS = {
    "diffuse": "white",
    "normal": "the mesh's own normals",
    "roughness": "1",
    "occlusion": "none (1)",
    "metallic": "0",
    "specular": "4 % (0.5)",
    "displacement": "none (0.5)",
}


def absent_texts(present: dict[str, bool]) -> dict[str, str]:
    """Return in words what stands for each map that is not `present`.

    >>> absent_texts({"diffuse": True, "roughness": False, "specular": False})
    {'roughness': '1', 'specular': '4 % (0.5)'}
    """
    return {name: _TEXTS[name] for name, there in present.items() if not there}


def absent_sentence(present: dict[str, bool]) -> str:
    """Return the sentence about them for a page.

    >>> absent_sentence({"diffuse": True, "roughness": False, "specular": False})
    'Not in the material, and what stands for them: roughness 1, specular 4 % (0.5).'
    """
    absent = ", ".join(f"{name} {text}" for name, text in absent_texts(present).items())
    return (
        f"Not in the material, and what stands for them: {absent}." if absent else "All seven maps are in the material."
    )
