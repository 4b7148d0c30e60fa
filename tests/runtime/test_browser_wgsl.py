"""Generated WGSL in a browser: headless Chromium's WebGPU decodes points as the reader does."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.runtime_device import TEXTURE_FORMATS
from formats.dds import read_dds
from runtime.shaders import generate
from tests.runtime.browser import run_page
from tests.runtime.exports import EXACT, FLOAT_ERROR, draw_points, expected, largest_error

PAGE = """<script type="module">
const bytes = async (name) => new Uint8Array(await (await fetch("/data/" + name)).arrayBuffer());
const setup = JSON.parse(new TextDecoder().decode(await bytes("setup.json")));
const adapter = await navigator.gpu?.requestAdapter();
if (!adapter) { report(null); } else {
  const device = await adapter.requestDevice();
  device.addEventListener("uncapturederror", (event) => { throw event.error; });
  const code = new TextDecoder().decode(await bytes("shader.wgsl"));
  const module = device.createShaderModule({code});
  const pipeline = await device.createComputePipelineAsync(
    {layout: "auto", compute: {module, entryPoint: "NeuralTexture_Decode"}});
  const entries = [];
  let decoded;
  for (const binding of setup.bindings) {
    if (binding.levels) {
      const texture = device.createTexture({size: binding.levels[0].size, format: binding.format,
        mipLevelCount: binding.levels.length, usage: GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST});
      for (const [mipLevel, level] of binding.levels.entries())
        device.queue.writeTexture({texture, mipLevel}, await bytes(level.file), {bytesPerRow: level.row}, level.size);
      entries.push({binding: binding.number, resource: texture.createView()});
      continue;
    }
    const data = await bytes(binding.file);
    const usage = binding.kind === "uniform" ? GPUBufferUsage.UNIFORM : GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC;
    const buffer = device.createBuffer({size: data.byteLength, usage: usage | GPUBufferUsage.COPY_DST});
    device.queue.writeBuffer(buffer, 0, data);
    if (binding.kind === "output_buffer") decoded = buffer;
    entries.push({binding: binding.number, resource: {buffer}});
  }
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({layout: pipeline.getBindGroupLayout(0), entries}));
  pass.dispatchWorkgroups(setup.groups);
  pass.end();
  const result = device.createBuffer({size: decoded.size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST});
  encoder.copyBufferToBuffer(decoded, 0, result, 0, decoded.size);
  device.queue.submit([encoder.finish()]);
  await result.mapAsync(GPUMapMode.READ);
  report({adapter: adapter.info?.vendor, values: Array.from(new Float32Array(result.getMappedRange()))});
}
</script>"""


def write_data(reader, shader, points, folder) -> None:
    """Write the shader, what its bindings hold, and a description for the page."""
    own = {
        "weights": shader.weights.data,
        "points": points.tobytes(),
        "decoded": bytes(48 * len(points)),
        "decode_settings": np.array([len(points), 0, 0, 0], np.uint32).tobytes(),
    }
    bindings = []
    for binding in shader.bindings:
        entry = {"number": binding.number, "kind": binding.kind, "file": binding.name}
        if binding.kind == "texture":
            entry["format"], entry["levels"] = TEXTURE_FORMATS[binding.format][0], []
            for mip, level in enumerate(read_dds(reader.folder / binding.file)[1]):
                rows, columns = level.shape[:2]
                name = f"{binding.name}_{mip}"
                (folder / name).write_bytes(level.tobytes())
                entry["levels"].append({"file": name, "row": level.nbytes // rows, "size": [columns, rows]})
        else:
            (folder / binding.name).write_bytes(own[binding.name])
        bindings.append(entry)
    setup = {"bindings": bindings, "groups": -(-len(points) // 64)}
    (folder / "setup.json").write_text(json.dumps(setup), encoding="utf-8")
    (folder / "shader.wgsl").write_bytes(shader.code)


@pytest.mark.parametrize("name", ["mobile packed", "preset quality", "linear order 3", "70 features"])
def test_wgsl_in_chromium_equals_the_reader(exports, largest_errors, tmp_path, name):
    reader = exports(name)
    shader, points = generate(reader, "wgsl", EXACT), draw_points(reader, 128)
    write_data(reader, shader, points, tmp_path)
    result = run_page(PAGE, {"data": tmp_path}, timeout_s=120)
    if result is None:
        pytest.skip("this browser has no WebGPU: apt-get install chromium")
    decoded = np.array(result["values"], np.float32).reshape(-1, 12)[:, :11]
    error = largest_error(decoded, expected(reader, points))
    largest_errors.setdefault("wgsl (Chromium)", {})[name] = error
    assert error < FLOAT_ERROR
