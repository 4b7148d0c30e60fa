"""A smooth texture set, and a codec run on it."""

from __future__ import annotations

import numpy as np
import pytest

from baselines.codecs import choose_codecs
from configs import TEXTURE_CHANNELS
from dataset import TextureSet
from reporting.metrics import channel_ranges

ALL = tuple(TEXTURE_CHANNELS)


def material(width, height, maps=("diffuse", "normal", "roughness", "occlusion", "displacement"), name="waves"):
    """A smooth texture set of the given size; every channel differs from the others."""
    y, x = np.mgrid[:height, :width] / 32
    image = np.zeros((height, width, 11), np.uint8)
    for map_name, channels in channel_ranges().items():
        for channel in range(channels.start, channels.stop) if map_name in maps else ():
            image[..., channel] = 128 + 100 * np.sin(x * (1 + channel / 9) + channel) * np.cos(y * (1 + channel / 5))
    if "normal" in maps:
        vector = np.stack([np.sin(3 * x) * 0.4, np.cos(2 * y) * 0.4, np.ones_like(x)], axis=-1)
        vector /= np.linalg.norm(vector, axis=-1, keepdims=True)
        image[..., 3:6] = np.round((vector + 1) * 127.5)
    return TextureSet(name, width, height, [image], {kind: kind in maps for kind in ALL}, "opengl", {}, [])


def run(textures, name):
    codec, setting = choose_codecs([name])[0]
    if codec.missing():
        pytest.skip(codec.missing())
    return codec.run(textures, setting)
