"""What stands for a map that a material does not have: the same in every package, as glTF and `--bake` have it."""

from __future__ import annotations

from collections.abc import Mapping

from formats.reader import NeuralTextureReader

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


def shading_maps(reader: NeuralTextureReader) -> dict[str, bool]:
    """Return whether each map is there for what its name says: one that holds opacity is not, and neutral in shading."""
    return {name: there and name not in reader.holds for name, there in reader.present.items()}


def content_sentences(manifest: Mapping) -> list[str]:
    """Return sentences on maps that hold something else than their names say, or were scaled.

    >>> channels = [{"name": "specular", "holds": "opacity"}, {"name": "displacement", "range": [-2.0, 6.0]}]
    >>> content_sentences({"channels": channels})[1]
    'In displacement, 0 stands for -2 and 1 for 6: value = -2 + 8 * displacement.'
    """
    sentences = []
    for entry in manifest["channels"]:
        name = entry["name"]
        if entry.get("holds"):
            sentences.append(
                f"What the decoder returns as {name} is {entry['holds']}: connect it as that; "
                f"the material has no {name} map."
            )
        if entry.get("range"):
            low, high = entry["range"]
            sentences.append(
                f"In {name}, 0 stands for {low:g} and 1 for {high:g}: value = {low:g} + {high - low:g} * {name}."
            )
    return sentences


def maps_sentence(reader: NeuralTextureReader) -> str:
    """Return for a page what stands for absent maps, and what the others hold beyond what their names say."""
    return " ".join([absent_sentence(shading_maps(reader)), *content_sentences(reader.manifest)])
