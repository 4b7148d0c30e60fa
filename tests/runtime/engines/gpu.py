"""Running a compute shader of a test on the GPU that is there, or on Mesa's in software."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.runtime.devices import require_device

GROUP = 64
"""Threads in a group of the shaders that `run_points` runs."""


def run_points(
    code: bytes | str, points: np.ndarray, width: int, textures: Sequence[Sequence[np.ndarray]]
) -> np.ndarray:
    """Run `main` of SPIR-V or WGSL for every point: float32 `[N, P]` in, float32 `[N, width]` out.

    Bindings: 0 the points, 1 the results, 2 a nearest sampler, then the RGBA8 textures, each the uint8 `[H, W, 4]` of its
    mips, finest first. `main` also runs for points of zeros that fill up the last group. Skips the test where there is
    no device.
    """
    import wgpu

    device = require_device()
    padded = np.zeros((-(-len(points) // GROUP) * GROUP, points.shape[1]), np.float32)
    padded[: len(points)] = points
    usage = wgpu.BufferUsage
    source = device.create_buffer_with_data(data=padded, usage=usage.STORAGE)
    results = device.create_buffer(size=4 * width * len(padded), usage=usage.STORAGE | usage.COPY_SRC)
    entries = [
        {"binding": 0, "resource": {"buffer": source, "offset": 0, "size": source.size}},
        {"binding": 1, "resource": {"buffer": results, "offset": 0, "size": results.size}},
    ]
    entries.append({"binding": 2, "resource": device.create_sampler()})
    kinds: list[dict] = [{"buffer": {"type": "read-only-storage"}}, {"buffer": {"type": "storage"}}, {"sampler": {}}]
    for number, levels in enumerate(textures, 3):
        texture = device.create_texture(
            size=(levels[0].shape[1], levels[0].shape[0], 1),
            mip_level_count=len(levels),
            format="rgba8unorm",
            usage=wgpu.TextureUsage.TEXTURE_BINDING | wgpu.TextureUsage.COPY_DST,
        )
        for mip, texels in enumerate(levels):
            rows, columns = texels.shape[:2]
            device.queue.write_texture(
                {"texture": texture, "mip_level": mip},
                np.ascontiguousarray(texels),
                {"bytes_per_row": 4 * columns, "rows_per_image": rows},
                (columns, rows, 1),
            )
        entries.append({"binding": number, "resource": texture.create_view()})
        kinds.append({"texture": {"sample_type": "float"}})
    # Not "auto", which knows only what the code uses.
    layout = device.create_bind_group_layout(
        entries=[{"binding": i, "visibility": wgpu.ShaderStage.COMPUTE, **kind} for i, kind in enumerate(kinds)]
    )
    module = device.create_shader_module(code=code)
    pipeline = device.create_compute_pipeline(
        layout=device.create_pipeline_layout(bind_group_layouts=[layout]),
        compute={"module": module, "entry_point": "main"},
    )
    group = device.create_bind_group(layout=layout, entries=entries)
    encoder = device.create_command_encoder()
    compute = encoder.begin_compute_pass()
    compute.set_pipeline(pipeline)
    compute.set_bind_group(0, group)
    compute.dispatch_workgroups(len(padded) // GROUP)
    compute.end()
    device.queue.submit([encoder.finish()])
    return np.frombuffer(device.queue.read_buffer(results), np.float32).reshape(-1, width)[: len(points)]
