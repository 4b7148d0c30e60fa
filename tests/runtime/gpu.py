"""Generated shaders run by wgpu on the machine's Vulkan adapter, Mesa's software one where there is no GPU."""

from __future__ import annotations

import os
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from formats.dds import read_dds
from formats.reader import NeuralTextureReader
from runtime.shaders import Shader
from tests.runtime.exports import POINT

FEATURES = ("shader-f16", "texture-compression-bc", "timestamp-query", "texture-format16bit-norm")
TEXTURE_FORMATS = {
    "R8G8B8A8_UNORM": ("rgba8unorm", "float"),
    "R16G16B16A16_UNORM": ("rgba16unorm", "float"),
    "R32_UINT": ("r32uint", "uint"),
    "R32G32_UINT": ("rg32uint", "uint"),
    "R32G32B32A32_UINT": ("rgba32uint", "uint"),
}
"""Of the DXGI formats that exports have: WebGPU's name and what a shader reads."""


def require_device():
    """Return wgpu's device on Vulkan, or skip the test with the lines to install what is missing."""
    device = _device()
    if isinstance(device, str):
        pytest.skip(device)
    return device


@cache
def _device():
    try:
        import wgpu
    except ImportError:
        return "needs wgpu: pip install -r requirements-dev.txt"
    os.environ.setdefault("WGPU_BACKEND_TYPE", "Vulkan")
    adapters = [a for a in wgpu.gpu.enumerate_adapters_sync() if a.info["backend_type"] == "Vulkan"]
    if not adapters:
        return "needs a Vulkan driver: apt-get install mesa-vulkan-drivers"
    adapter = min(adapters, key=lambda a: a.info["adapter_type"] == "CPU")
    wanted = [feature for feature in FEATURES if feature in adapter.features]
    return adapter.request_device_sync(required_features=wanted)


class Decoder:
    """A generated shader on the device, its resources uploaded."""

    def __init__(self, shader: Shader, reader: NeuralTextureReader, code: str | bytes, entry: str) -> None:
        import wgpu

        self.device, self.shader, self.reader = require_device(), shader, reader
        self.usage = wgpu.BufferUsage
        self.layout = self.device.create_bind_group_layout(entries=[_layout_entry(b) for b in shader.bindings])
        module = self.device.create_shader_module(code=code)
        self.pipeline = self.device.create_compute_pipeline(
            layout=self.device.create_pipeline_layout(bind_group_layouts=[self.layout]),
            compute={"module": module, "entry_point": entry},
        )
        self.fixed = {b.name: self._fixed(b) for b in shader.bindings if b.kind == "sampler" or b.file}

    def _fixed(self, binding):
        if binding.kind == "sampler":
            mode = "repeat" if self.reader.manifest["wrap"] else "clamp-to-edge"
            return self.device.create_sampler(
                mag_filter="linear", min_filter="linear", mipmap_filter="nearest", address_mode_u=mode, address_mode_v=mode
            )
        if binding.name == "weights":
            return self._buffer(self.shader.weights.data, self.usage.STORAGE)
        return grid_texture(self.device, self.reader, binding)

    def _buffer(self, data, usage):
        buffer = self.device.create_buffer_with_data(data=data, usage=usage)
        return {"buffer": buffer, "offset": 0, "size": buffer.size}

    def dispatch(self, resources: dict, groups: tuple[int, int, int], encoder, timestamps: dict | None = None) -> None:
        """Record the shader's run with its fixed resources and these."""
        bound = {**self.fixed, **resources}
        group = self.device.create_bind_group(
            layout=self.layout,
            entries=[{"binding": b.number, "resource": bound[b.name]} for b in self.shader.bindings],
        )
        run = encoder.begin_compute_pass(**({"timestamp_writes": timestamps} if timestamps else {}))
        run.set_pipeline(self.pipeline)
        run.set_bind_group(0, group)
        run.dispatch_workgroups(*groups)
        run.end()

    def decode(self, points: np.ndarray) -> np.ndarray:
        """Decode points by NeuralTexture_Decode: float32 `[N, 11]`."""
        assert points.dtype == POINT
        size = 48 * len(points)
        decoded = self.device.create_buffer(size=size, usage=self.usage.STORAGE | self.usage.COPY_SRC)
        settings = np.array([len(points), 0, 0, 0], np.uint32)
        resources = {
            "decode_settings": self._buffer(settings, self.usage.UNIFORM),
            "points": self._buffer(points, self.usage.STORAGE),
            "decoded": {"buffer": decoded, "offset": 0, "size": size},
        }
        encoder = self.device.create_command_encoder()
        self.dispatch(resources, (-(-len(points) // 64), 1, 1), encoder)
        self.device.queue.submit([encoder.finish()])
        return np.frombuffer(self.device.queue.read_buffer(decoded), np.float32).reshape(-1, 12)[:, :11]

    def bake(self, mip: int) -> dict[str, np.ndarray]:
        """Run NeuralTexture_Bake on a mip: uint8 `[H, W, 4]` of each storage texture."""
        import wgpu

        width, height = self.reader.mip_size(mip)
        names = [b.name for b in self.shader.bindings if b.kind == "storage_texture"]
        usage = wgpu.TextureUsage.STORAGE_BINDING | wgpu.TextureUsage.COPY_SRC
        textures = {
            name: self.device.create_texture(size=(width, height, 1), format="rgba8unorm", usage=usage) for name in names
        }
        resources = {name: texture.create_view() for name, texture in textures.items()}
        resources["bake_settings"] = self._buffer(np.array([mip, 0, 0, 0], np.uint32), self.usage.UNIFORM)
        encoder = self.device.create_command_encoder()
        self.dispatch(resources, bake_groups(self.shader, width, height, mip), encoder)
        self.device.queue.submit([encoder.finish()])
        return {
            name: np.frombuffer(
                self.device.queue.read_texture(
                    {"texture": texture}, {"bytes_per_row": 4 * width, "rows_per_image": height}, (width, height, 1)
                ),
                np.uint8,
            ).reshape(height, width, 4)
            for name, texture in textures.items()
        }


def bake_groups(shader: Shader, width: int, height: int, mip: int) -> tuple[int, int, int]:
    """Return the groups that NeuralTexture_Bake is dispatched with."""
    px, py = shader.weights.fold.periods[mip] if shader.weights.fold else (1, 1)
    return -(-width // (8 * px)), -(-height // (8 * py)), px * py


def grid_texture(device, reader: NeuralTextureReader, binding):
    """Upload a DDS file with its mips and return a view of it."""
    import wgpu

    header, levels = read_dds(reader.folder / binding.file)
    texture = device.create_texture(
        size=(header.width, header.height, 1),
        mip_level_count=len(levels),
        format=TEXTURE_FORMATS[binding.format][0],
        usage=wgpu.TextureUsage.TEXTURE_BINDING | wgpu.TextureUsage.COPY_DST,
    )
    for mip, level in enumerate(levels):
        rows, columns = level.shape[:2]
        device.queue.write_texture(
            {"texture": texture, "mip_level": mip},
            np.ascontiguousarray(level),
            {"bytes_per_row": level.nbytes // rows, "rows_per_image": rows},
            (columns, rows, 1),
        )
    return texture.create_view()


def _layout_entry(binding) -> dict:
    entry = SimpleNamespace(binding=binding.number, visibility=4)
    kinds = {
        "buffer": {"buffer": {"type": "read-only-storage"}},
        "output_buffer": {"buffer": {"type": "storage"}},
        "uniform": {"buffer": {"type": "uniform"}},
        "sampler": {"sampler": {"type": "filtering"}},
        "storage_texture": {"storage_texture": {"access": "write-only", "format": "rgba8unorm"}},
    }
    if binding.kind == "texture":
        return {**vars(entry), "texture": {"sample_type": TEXTURE_FORMATS[binding.format][1]}}
    return {**vars(entry), **kinds[binding.kind]}
