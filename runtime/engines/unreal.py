"""A material for the stock Unreal Engine 5: textures, the code of a Custom node, a script that builds the material."""

from __future__ import annotations

import io
import json
from pathlib import Path

from PIL import Image

from formats.manifest import MANIFEST_NAME
from formats.reader import NeuralTextureReader
from formats.repack import repack_export
from runtime.engines.absent import NEUTRAL, maps_sentence, shading_maps
from runtime.engines.hlsl_material import EngineTexture, HlslMaterial, hlsl_material
from runtime.texts import template
from utils.files import write_bytes

_CONSTANTS = {"diffuse": ("MP_BASE_COLOR", "Base Color"), "roughness": ("MP_ROUGHNESS", "Roughness")}
"""Material properties whose value without a connection is not what stands for an absent map: black, 0.5."""


def unreal_material(reader: NeuralTextureReader, name: str) -> HlslMaterial:
    """Return an export's code, as it can stand in a function, and textures; raises as `hlsl_material`."""
    return hlsl_material(reader, f"F{name}NeuralTexture", in_function=True)


def custom_node_inputs(material: HlslMaterial) -> list[str]:
    """Return the names of the Custom node's inputs, in order; textures are the last ones."""
    return ["UV", "UVAlongX", "UVAlongY", "Trilinear"] + [texture.label for texture in material.textures]


def custom_node_code(material: HlslMaterial, name: str) -> str:
    """Return the body of the function that Unreal makes of a Custom node."""
    return template("unreal/custom_node.hlsl.j2").render(
        name=name,
        code=material.code,
        struct=material.struct.name,
        sample=material.struct.sample,
        textures=material.textures,
        outputs=material.outputs,
        green=material.green,
        **material.facts,
    )


def unreal_package(reader: NeuralTextureReader, folder: Path, name: str) -> list[Path]:
    """Write a material for Unreal into `folder`, file names made of `name`, and return the files.

    Textures as TGA, the Custom node's code, `import_<name>.py` for the editor, a page, and for exports that the plugin
    reads its files in `plugin/`. Raises `UserError` where slangc is missing or files cannot be written.
    """
    material = unreal_material(reader, name)
    names = {texture.label: f"T_{name}_{texture.label}.tga" for texture in material.textures}
    inputs = custom_node_inputs(material)
    files = {folder / names[texture.label]: _tga(texture) for texture in material.textures}
    constants = {key: both for key, both in _CONSTANTS.items() if not shading_maps(reader)[key]}
    script = template("unreal/import.py.j2").render(
        name=name,
        textures=_literal(names),
        inputs=json.dumps(inputs),
        outputs=_literal(dict(material.outputs.values())),
        constants=_literal({place: float(NEUTRAL[key]) for key, (place, _) in constants.items()}),
        has_diffuse=shading_maps(reader)["diffuse"],
        **material.facts,
    )
    facts = material.facts
    page = template("unreal/README.md.j2").render(
        name=name,
        textures=material.textures,
        outputs=material.outputs,
        green=material.green,
        absent=maps_sentence(reader),
        constants=[label for _, label in constants.values()],
        plugin_settings=_plugin_settings(reader) if facts["plugin"] else "",
        **facts,
    )
    files[folder / f"M_{name}_CustomNode.hlsl"] = custom_node_code(material, name).encode()
    files[folder / f"import_{name}.py"] = script.encode()
    files[folder / f"{name}_README.md"] = page.encode()
    for path, data in files.items():
        write_bytes(path, data)
    return [*files, *(_plugin_files(reader, folder / "plugin" / name) if facts["plugin"] else [])]


def _literal(values: dict) -> str:
    """Return a dict as Python source, an entry a line."""
    return "{\n" + "".join(f'    "{key}": {value!r},\n' for key, value in values.items()).replace("'", '"') + "}"


def _tga(texture: EngineTexture) -> bytes:
    file = io.BytesIO()
    Image.fromarray(texture.texels).save(file, "TGA")
    return file.getvalue()


def _plugin_settings(reader: NeuralTextureReader) -> str:
    network, grids = reader.manifest["network"], reader.manifest["grids"]
    layers = network["layers"]
    sides = ", ".join(str(grid["max_resolution"]) for grid in grids)
    return (
        f"{len(grids)} grids of side {sides}, {layers[0]['rows']} neurons, {len(layers) - 1} hidden layers, hidden "
        f"activation {layers[0]['activation']}, output activation {layers[-1]['activation']} (the npz does not carry it)"
    )


def _plugin_files(reader: NeuralTextureReader, folder: Path) -> list[Path]:
    """Write what the plugin reads, under the names that it knows."""
    manifest = repack_export(reader.folder, folder, "rgba8")
    return [folder / entry["name"] for entry in manifest["files"]] + [folder / MANIFEST_NAME]
