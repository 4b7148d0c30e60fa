"""What is read of the JSON of glTF 2.0 files: materials, textures, and where images lie."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

MOST_MATERIALS = 10_000

Index = Annotated[int, Field(ge=0, le=1 << 31)]
Bytes = Annotated[int, Field(ge=0, le=1 << 50)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Colour = Annotated[list[Fraction], Field(min_length=4, max_length=4)]
"""Red, green and blue in linear light, and opacity."""
Extensions = dict[str, Any]


class Part(BaseModel):
    """Keys that are not listed here do not matter for materials."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class TextureInfo(Part):
    """How a material uses a texture."""

    index: Index
    texCoord: Index = 0
    scale: Annotated[float, Field(ge=-1000, le=1000)] = 1.0
    strength: Fraction = 1.0
    extensions: Extensions = {}


class MetallicRoughness(Part):
    """The model of surfaces that every glTF material has."""

    baseColorFactor: Colour = [1.0, 1.0, 1.0, 1.0]
    baseColorTexture: TextureInfo | None = None
    metallicFactor: Fraction = 1.0
    roughnessFactor: Fraction = 1.0
    metallicRoughnessTexture: TextureInfo | None = None


class Material(Part):
    """One material."""

    name: str | None = None
    pbrMetallicRoughness: MetallicRoughness = MetallicRoughness()
    normalTexture: TextureInfo | None = None
    occlusionTexture: TextureInfo | None = None
    emissiveTexture: TextureInfo | None = None
    alphaMode: str = "OPAQUE"
    extensions: Extensions = {}


class Specular(Part):
    """What KHR_materials_specular adds: a weight in the alpha of its texture."""

    specularFactor: Fraction = 1.0
    specularTexture: TextureInfo | None = None


class Glossiness(Part):
    """The older model of surfaces, KHR_materials_pbrSpecularGlossiness: glossiness in the alpha of its texture."""

    diffuseFactor: Colour = [1.0, 1.0, 1.0, 1.0]
    diffuseTexture: TextureInfo | None = None
    glossinessFactor: Fraction = 1.0
    specularGlossinessTexture: TextureInfo | None = None


class Texture(Part):
    """An image and how it is sampled."""

    source: Index | None = None
    sampler: Index | None = None
    extensions: Extensions = {}


class Sampler(Part):
    """How a texture goes on beyond its borders; 10497 is repeat."""

    wrapS: int = 10497
    wrapT: int = 10497


class Image(Part):
    """An image in a file of its own, or in a part of a buffer."""

    name: str | None = None
    uri: str | None = None
    bufferView: Index | None = None


class BufferView(Part):
    """A part of a buffer."""

    buffer: Index
    byteOffset: Bytes = 0
    byteLength: Bytes


class Buffer(Part):
    """Bytes in a file of their own, or, with no uri, in the binary chunk of a .glb."""

    uri: str | None = None
    byteLength: Bytes


class Document(Part):
    """The part of a glTF file's JSON that materials need."""

    asset: Extensions
    materials: Annotated[list[Material], Field(max_length=MOST_MATERIALS)] = []
    textures: list[Texture] = []
    samplers: list[Sampler] = []
    images: list[Image] = []
    bufferViews: list[BufferView] = []
    buffers: list[Buffer] = []
