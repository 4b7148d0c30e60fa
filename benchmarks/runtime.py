"""What decoding costs at run time: `python -m benchmarks.runtime [--load_dir RUN ...] --out FILE.json`.

Times the generated WGSL on the Vulkan adapter that is there, and the generated C++ on one core, beside sampling four BC7
textures, which is what all seven maps take. Without `--load_dir` exports of random features and weights with the
presets' layouts are timed, which cost what trained ones do. Every figure is the least of several runs of so many texels
as take a fraction of a second; milliseconds a frame are scaled from it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from baselines.hardware import hardware_name
from benchmarks.cpp_program import build, prepared
from benchmarks.random_exports import preset
from benchmarks.runtime_device import POINT, Decoder, bake_groups, open_device
from formats.bc7 import bc7_blocks
from formats.manifest import find_export
from formats.reader import NeuralTextureReader
from formats.repack import repack_export
from runtime.shaders import default_options, generate
from runtime.specialise import Options
from training.exporting import export_material
from utils.arguments import OneLineParser
from utils.errors import UserError, run_command
from utils.files import write_json

FRAME = 1920 * 1080
SIDE = 1024
STORAGES = ("packed", "packed_rgba8", "rgba8")
"""Those that WebGPU reads."""
FUNCTIONS = {
    "Load": "NeuralTexture_Load(vec2<i32>(id.xy), i32(mip))",
    "Sample": "NeuralTexture_Sample(uv, mip)",
    "SampleTrilinear": "NeuralTexture_SampleTrilinear(uv, mip + 0.5)",
    "SampleStochastic": "NeuralTexture_SampleStochastic(uv, vec2(step, 0.0), vec2(0.0, step), "
    "fract(vec4(0.618, 0.755, 0.570, 0.451) * f32(id.x * 7u + id.y * 13u)))",
}
"""WGSL of one decode a pixel, the material's texels one to one on the screen."""
CPP_FUNCTIONS = {"Sample": 0, "SampleTrilinear": 1, "Load": 2}
TURNS = 5
ENOUGH_S = 0.06
"""Seconds that a run takes at least, where there are texels enough, so that its start and the clock do not count."""
Size = TypeVar("Size")


def gpu_entry(function: str, output: int) -> str:
    """Return a compute entry that decodes one pixel a thread and keeps a number of it."""
    return f"""
@binding({output}) @group(0) var<storage, read_write> timed : array<f32>;
@compute @workgroup_size(8, 8, 1)
fn Timed(@builtin(global_invocation_id) id : vec3<u32>, @builtin(num_workgroups) groups : vec3<u32>)
{{
    let mip = f32(groups.z - 1u);  // 0, but no constant to the compiler
    let step = f32(groups.z) / {SIDE}.0;
    let uv = (vec2<f32>(id.xy) + 0.3) * step;
    let s = {FUNCTIONS[function]};
    timed[id.y * groups.x * 8u + id.x] = dot(s.diffuse + s.normal, vec3(1.0)) + s.roughness + s.occlusion
        + s.metallic + s.specular + s.displacement;
}}
"""


BC7_ENTRY = f"""
@binding(0) @group(0) var a : texture_2d<f32>;
@binding(1) @group(0) var b : texture_2d<f32>;
@binding(2) @group(0) var c : texture_2d<f32>;
@binding(3) @group(0) var d : texture_2d<f32>;
@binding(4) @group(0) var trilinear : sampler;
@binding(5) @group(0) var<storage, read_write> timed : array<f32>;
@compute @workgroup_size(8, 8, 1)
fn Timed(@builtin(global_invocation_id) id : vec3<u32>, @builtin(num_workgroups) groups : vec3<u32>)
{{
    let uv = (vec2<f32>(id.xy) + 0.3) / {SIDE}.0;
    let s = textureSampleLevel(a, trilinear, uv, 0.5) + textureSampleLevel(b, trilinear, uv, 0.5)
        + textureSampleLevel(c, trilinear, uv, 0.5) + textureSampleLevel(d, trilinear, uv, 0.5);
    timed[id.y * groups.x * 8u + id.x] = dot(s, vec4(1.0));
}}
"""


def least_ns(run: Callable[[Size], tuple[int, float]], sizes: Sequence[Size]) -> tuple[float, int]:
    """Return the least nanoseconds a texel of `run(size)`, which gives (texels, seconds), and the texels.

    Of the sizes, which grow, the first that takes `ENOUGH_S` is used, else the last.
    """
    for size in sizes:
        run(size)  # drivers compile at the first run
        texels, seconds = min((run(size) for _ in range(TURNS)), key=lambda pair: pair[1])
        if seconds > ENOUGH_S:
            break
    return seconds / texels * 1e9, texels


def gpu_timer(device, pipeline, group) -> Callable[[tuple[int, int, int]], tuple[int, float]]:
    """Return a function that runs so many groups of 8 x 8 threads of a pipeline: (texels, seconds)."""
    import wgpu

    on_device = "timestamp-query" in device.features and device.adapter.info["adapter_type"] != "CPU"
    usage = wgpu.BufferUsage
    queries = device.create_query_set(type="timestamp", count=2) if on_device else None
    stamps = device.create_buffer(size=16, usage=usage.QUERY_RESOLVE | usage.COPY_SRC) if on_device else None
    fence = device.create_buffer(size=4, usage=usage.COPY_SRC)

    def run(groups: tuple[int, int, int]) -> tuple[int, float]:
        encoder = device.create_command_encoder()
        writes = {"query_set": queries, "beginning_of_pass_write_index": 0, "end_of_pass_write_index": 1}
        compute = encoder.begin_compute_pass(**({"timestamp_writes": writes} if on_device else {}))
        compute.set_pipeline(pipeline)
        compute.set_bind_group(0, group)
        compute.dispatch_workgroups(*groups)
        compute.end()
        if on_device:
            encoder.resolve_query_set(queries, 0, 2, stamps, 0)
        started = time.perf_counter()
        device.queue.submit([encoder.finish()])
        device.queue.read_buffer(fence)
        seconds = time.perf_counter() - started
        if on_device:
            first, last = np.frombuffer(device.queue.read_buffer(stamps), np.uint64)
            seconds = float(last - first) * 1e-9
        return 64 * int(np.prod(groups)), seconds

    return run


def squares(*sides: int) -> list[tuple[int, int, int]]:
    """Return the groups of 8 x 8 threads that squares of pixels take."""
    return [(side // 8, side // 8, 1) for side in sides]


def gpu_rows(reader: NeuralTextureReader, half: bool, functions: list[str], bake: bool) -> Iterator[dict]:
    """Time the generated WGSL of an export; yields a row for each function, and for baking."""
    import wgpu

    for function in functions:
        shader = generate(reader, "wgsl", Options(half=half, bake=False))
        number = len(shader.bindings)
        code = shader.text + gpu_entry(function, number)
        decoder = Decoder(shader, reader, code, "Timed", {number: {"buffer": {"type": "storage"}}})
        output = decoder.device.create_buffer(size=4 * SIDE * SIDE, usage=wgpu.BufferUsage.STORAGE)
        group = decoder.group(
            {}, [{"binding": number, "resource": {"buffer": output, "offset": 0, "size": output.size}}]
        )
        nanoseconds, texels = least_ns(gpu_timer(decoder.device, decoder.pipeline, group), squares(32, 128, 512, SIDE))
        yield {"function": function, "ns_texel": nanoseconds, "texels": texels, "macs": shader.macs}
    if bake:
        shader = generate(reader, "wgsl", Options(half=half))
        decoder = Decoder(shader, reader, shader.text, "NeuralTexture_Bake")
        for mip in (mip for mip in (3, 1, 0) if mip in reader.stored_mips):
            group, groups = decoder.bake_group(mip), bake_groups(shader, *reader.mip_size(mip), mip)
            nanoseconds, texels = least_ns(gpu_timer(decoder.device, decoder.pipeline, group), [groups])
            if nanoseconds * texels > 1e8:
                break
        yield {"function": "Bake", "ns_texel": nanoseconds, "texels": texels, "macs": shader.macs}


def cpp_rows(reader: NeuralTextureReader, folder: Path) -> Iterator[dict]:
    """Time the generated C++ on one core; yields a row for each function."""
    shader = generate(reader, "cpp", default_options("cpp"))
    source = folder / "decoder.cpp"
    source.write_bytes(shader.code)
    library = build(source, "-O3", "-march=native", "-w")
    for function, number in CPP_FUNCTIONS.items():

        def run(count: int, number: int = number) -> tuple[int, float]:
            points = np.zeros(count, POINT)
            place = np.stack([np.arange(count) % SIDE, np.arange(count) // SIDE], -1)
            points["position"][:, :2] = place if number == 2 else (place + 0.3) / SIDE
            points["position"][:, 2], points["position"][:, 3] = 0.5 if number == 1 else 0, number
            call, _ = prepared(library, shader, reader, points)
            started = time.perf_counter()
            call()
            return count, time.perf_counter() - started

        nanoseconds, texels = least_ns(run, [1 << 10, 1 << 13, 1 << 16])
        yield {"function": function, "ns_texel": nanoseconds, "texels": texels, "macs": shader.macs}


def bc7_row() -> dict:
    """Time four BC7 textures with mips, sampled trilinearly by the hardware."""
    import wgpu

    device = open_device()
    if "texture-compression-bc" not in device.features:
        raise UserError("the adapter has no BC textures; run the benchmark on another one")
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.stack([x // 4 % 256, y // 4 % 256, (x * y) // 4096 % 256, np.full_like(x, 255)], -1).astype(np.uint8)
    usage = wgpu.TextureUsage.TEXTURE_BINDING | wgpu.TextureUsage.COPY_DST
    textures = [
        device.create_texture(size=(SIDE, SIDE, 1), mip_level_count=9, format="bc7-rgba-unorm", usage=usage)
        for _ in "abcd"
    ]
    for mip in range(9):
        side = SIDE >> mip
        data = bc7_blocks(image[:: 1 << mip, :: 1 << mip])
        for texture in textures:
            layout = {"bytes_per_row": 4 * side, "rows_per_image": side // 4}
            device.queue.write_texture({"texture": texture, "mip_level": mip}, data, layout, (side, side, 1))
    modes = dict.fromkeys(("mag_filter", "min_filter", "mipmap_filter"), "linear")
    output = device.create_buffer(size=4 * SIDE * SIDE, usage=wgpu.BufferUsage.STORAGE)
    pipeline = device.create_compute_pipeline(
        layout="auto", compute={"module": device.create_shader_module(code=BC7_ENTRY), "entry_point": "Timed"}
    )
    resources = [texture.create_view() for texture in textures]
    resources += [device.create_sampler(**modes), {"buffer": output, "offset": 0, "size": output.size}]
    entries = [{"binding": i, "resource": resource} for i, resource in enumerate(resources)]
    group = device.create_bind_group(layout=pipeline.get_bind_group_layout(0), entries=entries)
    nanoseconds, texels = least_ns(gpu_timer(device, pipeline, group), squares(128, 512, SIDE))
    return {"material": "4 BC7 textures", "storage": "BC7", "precision": "", "target": "wgsl", "function": "trilinear",
            "ns_texel": nanoseconds, "texels": texels}  # fmt: skip


def materials(load_dirs: list[Path], folder: Path) -> Iterator[tuple[str, NeuralTextureReader]]:
    """Yield name and export of the runs given, else of random models with the presets' layouts."""
    for path in load_dirs:
        reader = NeuralTextureReader(find_export(path))
        yield reader.manifest.get("name") or path.name, reader
    if load_dirs:
        return
    # The preset fast has the model of quality.
    for name in ("ue5", "quality", "mobile"):
        export_material(preset(name, "packed", SIDE, SIDE), folder / name)
        yield f"{name}, untrained", NeuralTextureReader(folder / name)


def measure(load_dirs: list[Path], show: Callable[[dict], None]) -> dict:
    """Time everything; returns the results as they are written, rows shown as they come."""
    device = open_device()
    rows = []

    def add(row: dict) -> None:
        row["ms_frame"] = row["ns_texel"] * FRAME * 1e-6
        rows.append(row)
        show(row)

    add(bc7_row())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for number, (name, reader) in enumerate(materials(load_dirs, folder)):
            for storage in STORAGES:
                own = folder / f"{number}_{storage}"
                repack_export(reader.folder, own, storage)
                repacked, full = NeuralTextureReader(own), storage == "packed"
                precisions = (False, True) if full and "shader-f16" in device.features else (False,)
                for half in precisions:
                    functions = list(FUNCTIONS) if full and not half else ["Load", "Sample"]
                    labels = {"material": name, "storage": storage, "precision": "fp16" if half else "fp32"}
                    for row in gpu_rows(repacked, half, functions, bake=full and not half):
                        add({**labels, "target": "wgsl", **row})
                if full:
                    for row in cpp_rows(repacked, own):
                        add({**labels, "precision": "fp32", "target": "C++, one core", **row})
    return {
        "adapter": dict(device.adapter.info),
        "cpu": hardware_name(),
        "untrained": not load_dirs,
        "texture_side": SIDE,
        "frame": [1920, 1080],
        "rows": rows,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = OneLineParser(prog="python -m benchmarks.runtime", description=__doc__)
    parser.add_argument("--load_dir", type=Path, nargs="*", default=[], help="runs or exports to time")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    settings = parser.parse_args(arguments)
    print("| material | storage | precision | code | function | ns a texel | ms a 1920 x 1080 frame (scaled) |")
    print("|---|---|---|---|---|---|---|")
    keys = ("material", "storage", "precision", "target", "function")
    results = measure(
        settings.load_dir,
        lambda row: print(
            "| " + " | ".join(str(row[key]) for key in keys) + f" | {row['ns_texel']:.3g} | {row['ms_frame']:.3g} |",
            flush=True,
        ),
    )
    write_json(settings.out, results)
    print(f"\n{results['adapter']['device']}; {results['cpu']}\nwritten: {settings.out}")


if __name__ == "__main__":
    run_command(main)
