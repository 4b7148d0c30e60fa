// The decoder on the GPU: generated WGSL, and the exported grids and weights as they are stored, bound by bindings.json.

import { parseDds } from "./dds.js";
import { loadBytes, loadJson, loadText } from "./files.js";

/** What the generated code gives as the viewer's own structure: `fetch` and `stochastic` cost one decode, `smooth` two. */
const ADAPTER = `
fn A_material(s: NeuralTextureSample) -> Material {
    return Material(s.diffuse, s.normal, s.roughness, s.occlusion, s.metallic, s.specular, s.displacement);
}
fn A_fetch(texel: Texel) -> Material {
    return A_material(NeuralTexture_Load(texel.place, texel.mip));
}
fn A_smooth(uv: vec2f, footprint: Footprint) -> Material {
    return A_material(NeuralTexture_SampleTrilinear(uv, footprint.lod));
}
fn A_stochastic(uv: vec2f, footprint: Footprint, noise: vec4f) -> Material {
    return A_material(NeuralTexture_SampleStochastic(uv, footprint.ddx, footprint.ddy, noise));
}
`;

function gridTexture(device, buffer, binding) {
  const { width, height, format, levels } = parseDds(buffer, binding.file);
  const texture = device.createTexture({
    label: binding.name,
    size: [width, height],
    format: format.name,
    mipLevelCount: levels.length,
    usage: GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST,
  });
  levels.forEach((data, mipLevel) => {
    const size = [Math.max(width >> mipLevel, 1), Math.max(height >> mipLevel, 1)];
    device.queue.writeTexture({ texture, mipLevel }, data, { bytesPerRow: size[0] * format.texelBytes }, size);
  });
  const bytes = levels.reduce((sum, level) => sum + level.byteLength, 0);
  return { texture, bytes, sampleType: format.sample };
}

function storageBuffer(device, data, name) {
  const size = Math.ceil(data.byteLength / 16) * 16;
  const buffer = device.createBuffer({ label: name, size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST });
  const padded = new Uint8Array(size);
  padded.set(new Uint8Array(data));
  device.queue.writeBuffer(buffer, 0, padded);
  return buffer;
}

/** Load a material's decoder: {code, layout, group, memoryBytes, macs}. */
export async function loadNeural(device, folder, material) {
  const [code, { bindings, macs_per_texel: macs }] = await Promise.all([
    loadText(`${folder}/decoder/decoder.wgsl`),
    loadJson(`${folder}/decoder/bindings.json`),
  ]);
  const files = new Map();
  await Promise.all(
    bindings.filter((each) => each.file).map(async (each) => files.set(each.file, await loadBytes(`${folder}/decoder/${each.file}`))),
  );
  const layoutEntries = [];
  const entries = [];
  let memoryBytes = 0;
  for (const each of bindings) {
    const entry = { binding: each.binding, visibility: GPUShaderStage.FRAGMENT };
    let resource;
    if (each.kind === "texture") {
      const { texture, bytes, sampleType } = gridTexture(device, files.get(each.file), each);
      memoryBytes += bytes;
      entry.texture = { sampleType };
      resource = texture.createView();
    } else if (each.kind === "sampler") {
      const mode = material.wrap ? "repeat" : "clamp-to-edge";
      resource = device.createSampler({ magFilter: "linear", minFilter: "linear", mipmapFilter: "nearest", addressModeU: mode, addressModeV: mode });
      entry.sampler = { type: "filtering" };
    } else {
      memoryBytes += files.get(each.file).byteLength;
      entry.buffer = { type: "read-only-storage" };
      resource = { buffer: storageBuffer(device, files.get(each.file), each.name) };
    }
    layoutEntries.push(entry);
    entries.push({ binding: each.binding, resource });
  }
  const layout = device.createBindGroupLayout({ label: "decoder", entries: layoutEntries });
  return {
    code: code + ADAPTER,
    isNeural: true,
    layout,
    group: device.createBindGroup({ layout, entries }),
    memoryBytes,
    macs,
  };
}
