"""The materials of glTF files: which image, channel and factor gives which map."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from images.gltf_file import GltfFile, open_gltf
from images.gltf_schema import Glossiness, Material, Specular, TextureInfo
from images.paths import folder_name, unique_name
from images.reading import ANY_SIZE, image_bands, image_size
from images.sources import MapSource, MaterialMaps, SourceImage
from images.texture_types import TextureType
from images.white import white_image
from utils.errors import UserError
from utils.invalid_values import shown

GLTF_SUFFIXES = (".glb", ".gltf")
_SPECULAR, _GLOSSINESS = "KHR_materials_specular", "KHR_materials_pbrSpecularGlossiness"
_TRANSFORM, _UNLIT = "KHR_texture_transform", "KHR_materials_unlit"
_GREY_BANDS = ("1", "L", "I", "F")
"""Pillow's names of the channel of grey images."""


@dataclass(frozen=True)
class _Slot:
    """Where a material keeps one map: values are texture * factor + offset, or 1 minus that where inverted."""

    type_name: str
    key: str
    """Of the texture."""
    texture: TextureInfo | None
    channel: int | None
    factor: tuple[float, ...]
    factor_key: str = ""
    offset: float = 0.0
    inverted: bool = False

    @property
    def has_effect(self) -> bool:
        """Whether the factor or the offset changes anything."""
        return self.offset != 0 or any(value != 1 for value in self.factor)


def _slots(file: GltfFile, material: Material) -> list[_Slot]:
    """Return the maps that a material has, also those that a factor alone gives; without any texture, none count."""
    surface = material.pbrMetallicRoughness
    slots = []
    gloss = file.extension(material, _GLOSSINESS, Glossiness)
    if gloss and not (surface.baseColorTexture or surface.metallicRoughnessTexture):
        colour = tuple(gloss.diffuseFactor[:3])
        slots.append(_Slot("diffuse", "diffuseTexture", gloss.diffuseTexture, None, colour, "diffuseFactor"))
        texture, factor = gloss.specularGlossinessTexture, (gloss.glossinessFactor,)
        slots.append(
            _Slot("roughness", "specularGlossinessTexture", texture, 3, factor, "glossinessFactor", inverted=True)
        )
    else:
        texture, colour = surface.metallicRoughnessTexture, tuple(surface.baseColorFactor[:3])
        slots.append(_Slot("diffuse", "baseColorTexture", surface.baseColorTexture, None, colour, "baseColorFactor"))
        if _UNLIT in material.extensions:
            return slots
        for type_name, channel, key, value in (
            ("roughness", 1, "roughnessFactor", surface.roughnessFactor),
            ("metallic", 2, "metallicFactor", surface.metallicFactor),
        ):
            slots.append(_Slot(type_name, "metallicRoughnessTexture", texture, channel, (value,), key))
    if material.normalTexture:
        scale = material.normalTexture.scale
        slots.append(_Slot("normal", "normalTexture", material.normalTexture, None, (scale, scale, 1.0)))
    if material.occlusionTexture:
        strength = material.occlusionTexture.strength
        slots.append(
            _Slot("occlusion", "occlusionTexture", material.occlusionTexture, 0, (strength,), offset=1 - strength)
        )
    specular = file.extension(material, _SPECULAR, Specular)
    if specular:
        texture, factor = specular.specularTexture, (specular.specularFactor,)
        slots.append(_Slot("specular", "specularTexture", texture, 3, factor, "specularFactor"))
    return slots


def split_reference(data_dir: str | Path) -> tuple[Path, str] | None:
    """Split `FILE.glb#MATERIAL` into the file and the material, "" where none is named; None for anything else."""
    text = str(data_dir)
    ends = [index for index, sign in enumerate(text) if sign == "#"] + [len(text)]
    paths = [(Path(text[:end]), text[end + 1 :]) for end in ends]
    paths = [(path, name) for path, name in paths if path.suffix.lower() in GLTF_SUFFIXES and not path.is_dir()]
    # A file that is missing is better named than taken for a folder.
    return next((found for found in paths if found[0].is_file()), paths[0] if paths else None)


def material_names(file: GltfFile) -> list[str]:
    """Return a name for every material that folders can have; no two are equal in any case of letters."""
    taken: set[str] = set()
    return [unique_name(folder_name(material.name), taken) for material in file.document.materials]


def textured_materials(file: GltfFile) -> list[str]:
    """Return the names of the materials that have an image for one of the maps."""
    return [
        name
        for name, material in zip(material_names(file), file.document.materials)
        if any(slot.texture for slot in _slots(file, material))
    ]


def gltf_maps(path: Path, material_name: str, types: Sequence[TextureType]) -> MaterialMaps:
    """Return the maps of one material of a glTF file, by its name as `material_names` gives it or as the file does.

    "" names the only one that has images. A map that the material gives as a factor alone is a white image times the
    factor. Raises `UserError` where the file is damaged, or the material is not there or has no image.
    """
    file = open_gltf(path)
    index = _material_index(file, material_name)
    material = file.document.materials[index]
    order = [texture.name for texture in types]
    slots = sorted(
        (slot for slot in _slots(file, material) if slot.type_name in order),
        key=lambda slot: order.index(slot.type_name),
    )
    if not any(slot.texture for slot in slots):
        raise UserError(
            f"the material {shown(material_names(file)[index])} of {path} has no image for any map, only factors; "
            "there is nothing to train"
        )
    slots, images = _with_images(file, slots)
    sizes = [image_size(images[slot.type_name], ANY_SIZE) for slot in slots if slot.texture][:1]
    sources, notices = {}, _notices(material, slots, file)
    for slot in slots:
        values = ", ".join(f"{value:.6g}" for value in slot.factor)
        if slot.texture:
            image, reason = images[slot.type_name], slot.key
        else:
            image = SourceImage(
                path, white_image(*sizes[0], colour=len(slot.factor) == 3), slot.factor_key, constant=True
            )
            reason = f"{slot.factor_key} {values}, no texture"
            notices.append(f"{slot.type_name}: {slot.factor_key} {values} everywhere, there is no texture")
        sources[slot.type_name] = MapSource(
            image,
            slot.channel if slot.texture else None,
            convention_named=slot.type_name == "normal",
            inverted=slot.inverted,
            factor=slot.factor if slot.has_effect else (),
            offset=slot.offset,
            reason=reason,
            stated=True,
        )
    used = {image.name for image in images.values()}
    return MaterialMaps(material_names(file)[index], sources, _others(file, material, used), notices)


def _material_index(file: GltfFile, name: str) -> int:
    """Return the index of the material that is named, or of the only one that has images."""
    names, textured = material_names(file), textured_materials(file)
    if name in names:
        return names.index(name)
    own = [index for index, material in enumerate(file.document.materials) if name and material.name == name]
    if len(own) == 1:
        return own[0]
    if not names:
        raise UserError(f"{file.path} has no material, only geometry; export it with its materials and textures")
    listed = ", ".join(textured[:10]) + (f" and {len(textured) - 10} more" if len(textured) > 10 else "")
    if name:
        raise UserError(
            f"{file.path} has no material {shown(name)}"
            + ("" if len(own) < 2 else ", but several of that name")
            + (f"; it has {listed}" if textured else "; none of its materials has an image")
        )
    if not textured:
        raise UserError(f"no material of {file.path} has an image, only factors; there is nothing to train")
    if len(textured) > 1:
        raise UserError(
            f"{file.path} has {len(textured)} materials with images ({listed}); name one as {file.path.name}#{textured[0]}, "
            f"or train them all: --groups_batching --groups_batch_dir {file.path.parent}"
        )
    return names.index(textured[0])


def _with_images(file: GltfFile, slots: list[_Slot]) -> tuple[list[_Slot], dict[str, SourceImage]]:
    """Take the images out; of grey ones all channels are one, and alpha that an image does not have is 1."""
    kept, images = [], {}
    for slot in slots:
        if slot.texture:
            image = file.image(file.image_index(slot.texture.index))
            bands = image_bands(image)
            if slot.channel == 3 and bands[-1] not in "Aa":
                slot = replace(slot, texture=None)
            else:
                images[slot.type_name] = image
            if slot.channel in (0, 1, 2) and bands[0] in _GREY_BANDS:
                slot = replace(slot, channel=None)
        kept.append(slot)
    if not images:
        raise UserError(f"no image of the material in {file.path} holds a map; there is nothing to train")
    return kept, images


def _notices(material: Material, slots: Sequence[_Slot], file: GltfFile) -> list[str]:
    """Say what of a material does not travel with its maps."""
    notices = []
    for slot in slots:
        if slot.texture is None:
            continue
        transform = slot.texture.extensions.get(_TRANSFORM)
        transform = transform if isinstance(transform, dict) else {}
        coordinates = transform.get("texCoord", slot.texture.texCoord)
        if coordinates != 0:
            notices.append(
                f"{slot.type_name}: {slot.key} is laid out by texture coordinates {shown(coordinates)}, not 0; "
                "sample this map with those"
            )
        changes = [f"{key} {shown(transform[key])}" for key in ("offset", "rotation", "scale") if key in transform]
        if changes:
            notices.append(
                f"{slot.type_name}: {_TRANSFORM} of {slot.key} ({', '.join(changes)}) is not applied; "
                "apply it to the texture coordinates"
            )
        if not file.wraps(slot.texture.index):
            notices.append(f"{slot.type_name}: {slot.key} does not repeat beyond its borders; train with --wrap False")
    opacity = material.pbrMetallicRoughness.baseColorFactor[3]
    if material.alphaMode != "OPAQUE":
        alpha = f" (baseColorFactor has {opacity:g})" if opacity != 1 else ""
        notices.append(
            f"alphaMode is {shown(material.alphaMode)[1:-1]}: the opacity of the material{alpha} is not a map"
        )
    if any(slot.type_name == "specular" for slot in slots):
        notices.append(f"specular: the weight of {_SPECULAR}, 1 is a reflectance of 0.04")
    others = sorted(set(material.extensions) - {_SPECULAR, _GLOSSINESS, _UNLIT})
    if others:
        notices.append(f"not among the maps: {', '.join(shown(name)[1:-1] for name in others[:10])}")
    return notices


def _texture_keys(part: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the key and the index of every texture that a part of a material names."""
    for key, value in part.items():
        index = value.get("index") if isinstance(value, dict) else None
        if key.endswith("Texture") and isinstance(index, int):
            yield key, index


def _others(file: GltfFile, material: Material, used: set[str]) -> dict[str, str]:
    """Name the images of a material that are none of its maps, and what they are."""
    named = [("", "emissiveTexture", material.emissiveTexture.index)] if material.emissiveTexture else []
    for extension, part in material.extensions.items():
        if isinstance(part, dict):
            named += [(extension, key, index) for key, index in _texture_keys(part)]
    others = {}
    for extension, key, index in named:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key.removesuffix("Texture")).lower()
        name = file.texture_name(index)
        if name and name not in used:
            others[name] = f"{words} of {extension}" if extension in (_SPECULAR, _GLOSSINESS) else words
    return others
