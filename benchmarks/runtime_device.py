"""Generated shaders run by wgpu on the machine's Vulkan adapter, Mesa's software one where there is no GPU."""

from __future__ import annotations

import os
from functools import cache

import numpy as np

from formats.dds import read_dds
from formats.reader import NeuralTextureReader
from runtime.shaders import Shader
from utils.errors import UserError

POINT = np.dtype([("position", "<f4", 4), ("footprint", "<f4", 4), ("noise", "<f4", 4)])
"""What the generated entry NeuralTexture_Decode reads for a point."""
FEATURES = ("shader-f16", "texture-compression-bc", "timestamp-query", "texture-format16bit-norm")
COMPUTE_STAGE = 4
"""WebGPU's number of the stage that reads the bindings."""
TEXTURE_FORMATS = {
    "R8G8B8A8_UNORM": ("rgba8unorm", "float"),
    "R16G16B16A16_UNORM": ("rgba16unorm", "float"),
    "R32_UINT": ("r32uint", "uint"),
    "R32G32_UINT": ("rg32uint", "uint"),
    "R32G32B32A32_UINT": ("rgba32uint", "uint"),
}
"""Of the DXGI formats that exports have: WebGPU's name and what a shader reads."""


@cache
def open_device():
    """Return wgpu's device on the best Vulkan adapter; raises `UserError` with what to install."""
    try:
        import wgpu
    except ImportError as error:
        raise UserError("needs wgpu: pip install -r requirements-dev.txt") from error
    os.environ.setdefault("WGPU_BACKEND_TYPE", "Vulkan")
    adapters = [a for a in wgpu.gpu.enumerate_adapters_sync() if a.info["backend_type"] == "Vulkan"]
    if not adapters:
        raise UserError("needs a Vulkan driver: apt-get install mesa-vulkan-drivers")
    adapter = min(adapters, key=lambda a: a.info["adapter_type"] == "CPU")
    wanted = [feature for feature in FEATURES if feature in adapter.features]
    return adapter.request_device_sync(required_features=wanted)


class Decoder:
    """A generated shader on the device, its resources uploaded."""

    def __init__(
        self, shader: Shader, reader: NeuralTextureReader, code: str, entry: str, more: dict[int, dict] | None = None
    ) -> None:
        """`more`: layout entries by number of bindings that the entry has beyond the shader's.

        Raises `UserError` where there is no device, with what to install.
        """
        import wgpu

        self.device, self.shader, self.reader = open_device(), shader, reader
        self.usage = wgpu.BufferUsage
        self.layout = self.device.create_bind_group_layout(
            entries=[_layout_entry(b) for b in shader.bindings]
            + [{"binding": number, "visibility": COMPUTE_STAGE, **entry} for number, entry in (more or {}).items()]
        )
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
                mag_filter="linear",
                min_filter="linear",
                mipmap_filter="nearest",
                address_mode_u=mode,
                address_mode_v=mode,
            )
        if binding.name == "weights":
            return self._buffer(self.shader.weights.data, self.usage.STORAGE)
        return grid_texture(self.device, self.reader, binding)

    def _buffer(self, data, usage):
        buffer = self.device.create_buffer_with_data(data=data, usage=usage)
        return {"buffer": buffer, "offset": 0, "size": buffer.size}

    def group(self, resources: dict, more: list[dict] | None = None):
        """Bind the shader's fixed resources and these."""
        bound = {**self.fixed, **resources}
        entries = [{"binding": b.number, "resource": bound[b.name]} for b in self.shader.bindings]
        return self.device.create_bind_group(layout=self.layout, entries=entries + (more or []))

    def _run(self, group, groups: tuple[int, int, int]) -> None:
        encoder = self.device.create_command_encoder()
        run = encoder.begin_compute_pass()
        run.set_pipeline(self.pipeline)
        run.set_bind_group(0, group)
        run.dispatch_workgroups(*groups)
        run.end()
        self.device.queue.submit([encoder.finish()])

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
        self._run(self.group(resources), (-(-len(points) // 64), 1, 1))
        return np.frombuffer(self.device.queue.read_buffer(decoded), np.float32).reshape(-1, 12)[:, :11]

    def _bake_targets(self, mip: int) -> dict:
        import wgpu

        names = [b.name for b in self.shader.bindings if b.kind == "storage_texture"]
        usage = wgpu.TextureUsage.STORAGE_BINDING | wgpu.TextureUsage.COPY_SRC
        size = (*self.reader.mip_size(mip), 1)
        return {name: self.device.create_texture(size=size, format="rgba8unorm", usage=usage) for name in names}

    def bake_group(self, mip: int, textures: dict | None = None):
        """Bind what NeuralTexture_Bake needs for a mip."""
        textures = textures or self._bake_targets(mip)
        settings = self._buffer(np.array([mip, 0, 0, 0], np.uint32), self.usage.UNIFORM)
        views = {name: texture.create_view() for name, texture in textures.items()}
        return self.group({**views, "bake_settings": settings})

    def bake(self, mip: int) -> dict[str, np.ndarray]:
        """Run NeuralTexture_Bake on a mip: uint8 `[H, W, 4]` of each storage texture."""
        width, height = self.reader.mip_size(mip)
        textures = self._bake_targets(mip)
        self._run(self.bake_group(mip, textures), bake_groups(self.shader, width, height, mip))
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
    kinds = {
        "buffer": {"buffer": {"type": "read-only-storage"}},
        "output_buffer": {"buffer": {"type": "storage"}},
        "uniform": {"buffer": {"type": "uniform"}},
        "sampler": {"sampler": {"type": "filtering"}},
        "storage_texture": {"storage_texture": {"access": "write-only", "format": "rgba8unorm"}},
    }
    if binding.kind == "texture":
        what = {"texture": {"sample_type": TEXTURE_FORMATS[binding.format][1]}}
    else:
        what = kinds[binding.kind]
    return {"binding": binding.number, "visibility": COMPUTE_STAGE, **what}
