"""What the UE5 plugin can read, judged by a manifest."""

from __future__ import annotations

from collections.abc import Mapping

OUTPUT_ACTIVATIONS = ("none", "leaky_relu", "hard_swish", "hard_gelu")
"""Output activations that the UE5 plugin can be told to use."""


def plugin_obstacles(manifest: Mapping) -> list[str]:
    """Return what keeps the UE5 plugin from reading an export, in words; empty where nothing does.

    Of the manifest only `grids`, `positional_encoding`, `position_order`, `network` and `channels` are read.
    """
    obstacles = []
    for g, grid in enumerate(manifest["grids"]):
        if grid["format"] != "R8G8B8A8_UNORM":
            obstacles.append(f"grid {g} is stored as {grid['format']}")
        elif grid.get("fields"):
            obstacles.append(f"grid {g} is stored as bit fields")
        if grid["interpolation"] != "bilinear":
            obstacles.append(f"grid {g} has {grid['interpolation']} interpolation")
        if grid["n_features"] != 4:
            obstacles.append(f"grid {g} has {grid['n_features']} features, not 4")
        if "curve_offset" in grid:
            obstacles.append(f"grid {g} has feature curves")
    encoding, network = manifest["positional_encoding"], manifest["network"]
    layers = network["layers"]
    if encoding["period_cells"] or encoding["phases"] != 1:
        obstacles.append("the positional encoding has a period or phases")
    if manifest.get("position_order"):
        obstacles.append("the first layer depends on the place in a cell")
    if "linear" in network:
        obstacles.append("the network corrects a linear decoder")
    if any(layer["bias_offset"] is not None for layer in layers):
        obstacles.append("the network has biases")
    if network["precision"] != "float32":
        obstacles.append(f"the weights are {network['precision']}")
    if any(layer["activation"] != "leaky_relu" for layer in layers[:-1]):
        obstacles.append(f"the hidden activation is {layers[0]['activation']}, not leaky_relu")
    if layers[-1]["activation"] not in OUTPUT_ACTIVATIONS:
        obstacles.append(f"the output activation is {layers[-1]['activation']}")
    for channel in manifest["channels"]:
        if channel["name"] == "diffuse" and channel["space"] != "linear":
            obstacles.append(f"diffuse is {channel['space']}, not linear")
    return obstacles
