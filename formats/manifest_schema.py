"""The schema of manifest.json, versions 1 and 2: types and limits of every key that decoding or reporting relies on.

Version 2 is version 1 with feature curves (a grid's `curve_offset`) or a linear decoder (the network's `linear`), without
which the decoded values would be others. Further keys may be added to a manifest and are allowed here; none of these
change meaning within a version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from configs import DIFFUSE_SPACES, N_CHANNELS, QUANTIZE_BITS, TEXTURE_CHANNELS, Interpolation
from formats.fields import FIELD_BITS, WORD_BITS, WORD_FORMATS, is_level_scale, level_scale
from formats.network_schema import Linear, Network
from formats.schema_types import (
    MOST_FEATURES,
    MOST_TEXELS,
    ByteCount,
    Count,
    Factor,
    Figure,
    Figures,
    FileName,
    GridSide,
    Part,
    Side,
    Whole,
    not_null,
)
from images.mips import mip_count
from utils.invalid_values import error_message, shortened, shown


def _one_of(value: int, known: Sequence[int]) -> int:
    if value not in known:
        raise PydanticCustomError("literal_error", "one of", {"expected": ", ".join(map(str, known))})
    return value


def _field_bits(bits: int) -> int:
    return _one_of(bits, FIELD_BITS)


class Channels(Part):
    """The channels of one map."""

    name: str
    first: Whole
    count: Count
    present: bool
    space: str | None = None
    depth: Literal[8, 16, 32] | None = None
    range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    holds: Annotated[str, Field(max_length=64)] | None = None

    @model_validator(mode="after")
    def _diffuse_has_a_space(self) -> Channels:
        if self.name == "diffuse" and self.space not in DIFFUSE_SPACES:
            raise ValueError(f"space of diffuse is {shown(self.space)}, expected one of {', '.join(DIFFUSE_SPACES)}")
        if self.name != "diffuse" and self.space not in (None, "data"):
            raise ValueError(f"space of {shown(self.name)} is {shown(self.space)}, expected data")
        return self


class FieldEntry(Part):
    """Where one feature of a packed grid lies."""

    word: Annotated[int, Field(ge=0, le=MOST_FEATURES - 1)]
    shift: Annotated[int, Field(ge=0, le=WORD_BITS - 1)]
    bits: Annotated[int, AfterValidator(_field_bits)]

    @model_validator(mode="after")
    def _within_a_word(self) -> FieldEntry:
        if self.shift + self.bits > WORD_BITS:
            raise ValueError(f"{self.bits} bits from {self.shift} on do not lie within a word of {WORD_BITS}")
        return self


class Grid(Part):
    """One feature grid and its files."""

    files: Annotated[list[FileName], Field(min_length=1, max_length=MOST_FEATURES)]
    format: Annotated[str, Field(max_length=64)]
    max_resolution: GridSide
    base_resolution: GridSide
    n_levels: Annotated[int, Field(ge=1, le=15)]
    n_features: Annotated[int, Field(ge=1, le=MOST_FEATURES)]
    fields: Annotated[list[FieldEntry], Field(min_length=1, max_length=MOST_FEATURES)] = []
    feature_bits: Annotated[list[Annotated[int, Field(ge=1, le=16)]], Field(max_length=MOST_FEATURES)] = []
    quantize_bits: int
    save_bits: Count
    interpolation: Interpolation
    scale: Factor
    offset: Factor
    curve_offset: Annotated[ByteCount | None, AfterValidator(not_null)] = None

    @field_validator("quantize_bits")
    @classmethod
    def _known_bits(cls, bits: int, info: ValidationInfo) -> int:
        _one_of(bits, FIELD_BITS if info.data.get("fields") else QUANTIZE_BITS)
        return bits

    @model_validator(mode="after")
    def _agrees(self) -> Grid:
        if self.base_resolution << (self.n_levels - 1) != self.max_resolution:
            raise ValueError(
                f"base_resolution {self.base_resolution}, n_levels {self.n_levels} and max_resolution "
                f"{self.max_resolution} disagree"
            )
        bits = [field.bits for field in self.fields] or [self.quantize_bits] * self.n_features
        if self.fields:
            self._check_fields()
        elif self.format in WORD_FORMATS and self.format.endswith("_UINT"):
            raise ValueError(f"the key fields is missing, which a grid of {self.format} needs")
        elif len(self.files) != -(-self.n_features // 4):
            raise ValueError(f"{self.n_features} features have {len(self.files)} files, expected four to a file")
        if "feature_bits" in self.model_fields_set and self.feature_bits != bits:
            raise ValueError(f"feature_bits is {shortened(str(self.feature_bits))}, expected {shortened(str(bits))}")
        return self

    def _check_fields(self) -> None:
        if len(self.fields) != self.n_features:
            raise ValueError(f"{self.n_features} features have {len(self.fields)} fields, expected one for each")
        if self.format not in WORD_FORMATS:
            raise ValueError(
                f"format of a grid with fields is {shown(self.format)}, expected one of {', '.join(WORD_FORMATS)}"
            )
        held, last = WORD_FORMATS[self.format], max(field.word for field in self.fields)
        taken: dict[int, int] = {}
        if last // held + 1 != len(self.files):
            raise ValueError(
                f"fields up to word {last} have {len(self.files)} files of {self.format}, expected {last // held + 1}"
            )
        for number, field in enumerate(self.fields):
            mask = ((1 << field.bits) - 1) << field.shift
            if taken.get(field.word, 0) & mask:
                raise ValueError(f"fields[{number}] overlaps another one in word {field.word}")
            taken[field.word] = taken.get(field.word, 0) | mask
        most = max(field.bits for field in self.fields)
        if self.quantize_bits != most:
            raise ValueError(f"quantize_bits is {self.quantize_bits}, expected the most bits of a field, {most}")
        if not is_level_scale(most, self.scale, self.offset):
            scale, offset = level_scale(most)
            raise ValueError(
                f"scale and offset are {self.scale:g} and {self.offset:g}, expected {scale:g} and {offset:g} "
                f"for fields of {most} bits"
            )

    @property
    def inputs(self) -> int:
        """Network inputs that the grid gives, products left out."""
        return self.n_features * (4 if self.interpolation == "gather" else 1)


class Encoding(Part):
    """The positional encoding."""

    n_frequencies: Annotated[int, Field(ge=0, le=64)]
    period_cells: Whole
    phases: Annotated[int, Field(ge=1, le=2)]


class FileEntry(Part):
    """Size and content hash of one file."""

    name: FileName
    bytes: ByteCount
    sha256: Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]


class AstcPoint(Part):
    """What ASTC reached at one block size."""

    blocks: Annotated[str, Field(max_length=16)]
    bpp: Annotated[float, Field(ge=0)]
    psnr_db: Figure


class BesideAstc(Part):
    """Where the run stands beside ASTC at its bits per texel."""

    gain_db: Figure
    bpp: Annotated[float, Field(ge=0)]
    psnr_db: Figure
    astc: Annotated[list[AstcPoint], Field(min_length=1, max_length=2)]
    quality: str
    texels: Count


class MaskFacts(Part):
    """Which texels were left out of the loss: by the name of the file that says so, or none where the pixels did."""

    file: str | None = None
    idle: Annotated[float, Field(ge=0, le=1)]


class Manifest(Part):
    """The whole of manifest.json."""

    format: Literal["neural-texture"]
    version: Literal[1, 2]
    width: Side
    height: Side
    mips: Count
    wrap: bool
    normal_convention: Literal["opengl", "directx"]
    ue5_plugin: bool
    ue5_plugin_obstacles: list[str] = []
    channels: list[Channels]
    grids: Annotated[list[Grid], Field(min_length=1, max_length=256)]
    dds_mips: bool = True
    mip_levels: list[list[Whole]]
    positional_encoding: Encoding
    position_order: Annotated[int, Field(ge=0, le=64)] = 0
    network: Network
    files: list[FileEntry]
    bpp: Annotated[float, Field(ge=0)]
    bpp_mips: Annotated[float, Field(ge=0)]
    bytes_per_texel: Annotated[float, Field(ge=0)] = 0
    psnr: dict[str, Figures]
    psnr_used: dict[str, Figures] = {}
    psnr_16bit: dict[str, Figures] = {}
    ssim: dict[str, Figures] = {}
    normal_angle_deg: Figures = []
    flip: dict[str, Figures] = {}
    lpips: dict[str, Figures] = {}
    beside_astc: BesideAstc | None = None
    mask: MaskFacts | None = None
    name: str = ""
    sources: dict[str, str] = {}
    fingerprint: str = ""
    notices: list[str] = []
    toolkit_version: str = ""

    @model_validator(mode="after")
    def _fits_together(self) -> Manifest:
        if self.width * self.height > MOST_TEXELS:
            raise ValueError(
                f"width and height are {self.width} and {self.height}, expected at most {MOST_TEXELS} texels"
            )
        if self.mips != mip_count(self.width, self.height):
            raise ValueError(
                f"mips is {self.mips}, expected {mip_count(self.width, self.height)} for a "
                f"{self.width} x {self.height} texture"
            )
        version = self.needed_version
        if self.version != version:
            raise ValueError(
                f"version is {self.version}, expected {version} for a manifest "
                f"{'without' if version == 1 else 'with'} a grid's curve_offset or the network's linear"
            )
        self._check_channels()
        self._check_levels()
        self._check_inputs()
        self._check_file_names()
        return self

    @property
    def needed_version(self) -> int:
        """Version of a manifest with these keys: 2 with feature curves or a linear decoder."""
        return 2 if self.network.linear is not None or any(grid.curve_offset is not None for grid in self.grids) else 1

    def _check_channels(self) -> None:
        if [(entry.name, entry.count) for entry in self.channels] != list(TEXTURE_CHANNELS.items()):
            named = ", ".join(f"{entry.name} ({entry.count})" for entry in self.channels)
            expected = ", ".join(f"{name} ({count})" for name, count in TEXTURE_CHANNELS.items())
            raise ValueError(f"channels is {shown(named)}, expected {expected}")
        first = 0
        for entry in self.channels:
            if entry.first != first:
                raise ValueError(f"first of {entry.name}'s channels is {entry.first}, expected {first}")
            first += entry.count

    def _check_levels(self) -> None:
        if len(self.mip_levels) != self.mips:
            raise ValueError(f"mip_levels has {len(self.mip_levels)} entries, expected one for each of {self.mips}")
        for mip, levels in enumerate(self.mip_levels):
            if len(levels) != len(self.grids) or any(level >= grid.n_levels for level, grid in zip(levels, self.grids)):
                raise ValueError(f"mip_levels[{mip}] is {shortened(str(levels))}, expected a level of each grid")

    def _check_inputs(self) -> None:
        encoding = self.positional_encoding
        gathered = sum(grid.inputs for grid in self.grids if grid.interpolation == "gather")
        inputs = 2 * encoding.n_frequencies * encoding.phases + sum(grid.inputs for grid in self.grids) + 1
        inputs += ((self.position_order + 1) ** 2 - 1) * gathered
        linear = self.network.linear
        if linear is not None:
            self._check_linear(linear)
            inputs += N_CHANNELS
        if (self.network.inputs, self.network.outputs) != (inputs, N_CHANNELS):
            raise ValueError(
                f"the network has {self.network.inputs} inputs and {self.network.outputs} outputs, "
                f"expected {inputs} and {N_CHANNELS}"
            )

    def _check_linear(self, linear: Linear) -> None:
        functions = (linear.order + 1) ** 2
        cols = sum(grid.inputs * (functions if grid.interpolation == "gather" else 1) for grid in self.grids)
        if linear.cols != cols:
            raise ValueError(f"cols of network.linear is {linear.cols}, expected {cols} for its order and the grids")
        for entry in self.channels:
            rows = set(linear.outputs).intersection(range(entry.first, entry.first + entry.count))
            if rows and not entry.present:
                raise ValueError(
                    f"outputs of network.linear has {min(rows)}, a channel of {entry.name}, which is missing"
                )

    def _check_file_names(self) -> None:
        listed = [entry.name for entry in self.files]
        if len(set(listed)) != len(listed):
            raise ValueError("files lists a name twice")
        used = [self.network.file, *(name for grid in self.grids for name in grid.files)]
        for name in used:
            if name not in listed:
                raise ValueError(f"{shown(name)} is not listed under files")
        if len(set(used)) != len(used):
            raise ValueError("two parts of the model name the same file")


def check_manifest(manifest: dict) -> None:
    """Check a manifest; raises `ValueError` with one line that names the key, what was found and what is expected."""
    try:
        Manifest.model_validate(manifest)
    except ValidationError as error:
        raise ValueError(error_message(error.errors(include_url=False)[0])) from None
