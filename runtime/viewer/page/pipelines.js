// Shaders put together from parts: a source's code, the sampling that was chosen, the lighting; compiled once each.

import { loadText } from "./files.js";
import { VERTEX_FLOATS } from "./meshes.js";

export const SCENE_FORMAT = "rgba16float";
export const DEPTH_FORMAT = "depth24plus";
const HEIGHT_SIDE = 256;
const BAKE_BUDGET_MS = 50;
const PARTS = ["frame.wgsl", "colour.wgsl", "sampling.wgsl", "lighting.wgsl", "surface.wgsl", "background.wgsl", "heights.wgsl"];

/** Constants of a material that its shaders are specialised by. */
function header(material) {
  const channels = material.channels.filter((channel) => channel.present);
  // What holds something else than its name says, such as opacity, is shown as a map, but is no part of the shading.
  const has = material.channels.flatMap((channel) => [
    `const HAS_${channel.name.toUpperCase()} = ${channel.present ? 1 : 0};`,
    `const SHADES_${channel.name.toUpperCase()} = ${channel.present && !channel.holds ? 1 : 0};`,
  ]);
  return [
    `const SIZE = vec2f(${material.width}.0, ${material.height}.0);`,
    `const MIPS = ${material.stored_mips};`,
    `const WRAP = ${material.wrap};`,
    `const IS_DIRECTX = ${material.normal_convention === "directx"};`,
    `const CHANNELS = ${channels.reduce((sum, channel) => sum + channel.count, 0)};`,
    ...has,
    "",
  ].join("\n");
}

/** `enable` and the like stand before everything else. */
function assembled(parts) {
  const code = parts.join("\n");
  const directive = /^\s*(enable|requires|diagnostic)\b[^;]*;/gm;
  return `${[...new Set(code.match(directive) ?? [])].join("\n")}\n${code.replace(directive, "")}`;
}

const TEXEL = {
  nearest: "nearest_texel(uv, footprint)",
  stochastic: "stochastic_texel(uv, footprint, noise)",
};

/** What a pixel reads. Images have their filter in hardware; an error takes the same texel from both sides. */
function sampleCode(source, sampling, reference) {
  const texel = TEXEL[sampling];
  const isDrawn = sampling === "stochastic" && source.isNeural;
  const filtered = isDrawn ? "A_stochastic(uv, footprint, noise)" : "A_smooth(uv, footprint)";
  const read = sampling === "nearest" ? `A_fetch(${texel})` : filtered;
  const error = texel
    ? `let texel = ${texel};\n    return difference(A_fetch(texel), B_fetch(texel));`
    : "return difference(A_smooth(uv, footprint), B_smooth(uv, footprint));";
  return `
const IS_ERROR = ${reference !== null};
fn A_sample(uv: vec2f, footprint: Footprint, noise: vec4f) -> Material {
    return ${reference ? "Material()" : read};
}
fn A_error(uv: vec2f, footprint: Footprint, noise: vec4f) -> f32 {
    ${reference ? error : "return 0.0;"}
}
`;
}

export class Pipelines {
  static async create(device, environment, imageLayout) {
    const texts = await Promise.all(PARTS.map(loadText));
    return new Pipelines(device, environment, imageLayout, Object.fromEntries(PARTS.map((name, i) => [name, texts[i]])));
  }

  constructor(device, environment, imageLayout, parts) {
    this.device = device;
    this.parts = parts;
    this.imageLayout = imageLayout;
    this.compiled = new Map();
    const both = GPUShaderStage.FRAGMENT | GPUShaderStage.VERTEX;
    const cube = { sampleType: "float", viewDimension: "cube" };
    this.frameLayout = device.createBindGroupLayout({
      label: "frame",
      entries: [
        { binding: 0, visibility: both, buffer: { type: "uniform" } },
        { binding: 1, visibility: GPUShaderStage.FRAGMENT, sampler: { type: "filtering" } },
        { binding: 2, visibility: GPUShaderStage.FRAGMENT, texture: cube },
        { binding: 3, visibility: GPUShaderStage.FRAGMENT, texture: cube },
      ],
    });
    this.heightLayout = device.createBindGroupLayout({
      label: "heights",
      entries: [
        { binding: 0, visibility: GPUShaderStage.FRAGMENT, texture: { sampleType: "float" } },
        { binding: 1, visibility: GPUShaderStage.FRAGMENT, sampler: { type: "filtering" } },
      ],
    });
    this.bakeLayout = device.createBindGroupLayout({
      label: "bake",
      entries: [{ binding: 0, visibility: GPUShaderStage.FRAGMENT, buffer: { type: "uniform" } }],
    });
    this.emptyLayout = device.createBindGroupLayout({ label: "empty", entries: [] });
    this.empty = device.createBindGroup({ layout: this.emptyLayout, entries: [] });
    const sampler = device.createSampler({ magFilter: "linear", minFilter: "linear", mipmapFilter: "linear" });
    this.frameBuffer = device.createBuffer({ size: 256, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    const [specular, irradiance] = environment.views();
    this.frameGroup = device.createBindGroup({
      layout: this.frameLayout,
      entries: [
        { binding: 0, resource: { buffer: this.frameBuffer } },
        { binding: 1, resource: sampler },
        { binding: 2, resource: specular },
        { binding: 3, resource: irradiance },
      ],
    });
  }

  once(key, make) {
    if (!this.compiled.has(key)) {
      const promise = make();
      promise.catch(() => this.compiled.delete(key));
      this.compiled.set(key, promise);
    }
    return this.compiled.get(key);
  }

  async compile(label, code, layouts, describe) {
    const module = this.device.createShaderModule({ label, code });
    const messages = (await module.getCompilationInfo()).messages.filter((message) => message.type === "error");
    if (messages.length) throw new Error(`${label}: line ${messages[0].lineNum}: ${messages[0].message}`);
    const layout = this.device.createPipelineLayout({ bindGroupLayouts: layouts });
    return this.device.createRenderPipelineAsync({ label, layout, ...describe(module) });
  }

  sourceCode(source) {
    return source.isNeural ? source.code : source.code("A", 1);
  }

  /** The pipeline that draws a mesh from `source`, or its difference to `reference`. */
  surface(key, material, source, sampling, reference) {
    return this.once(`${key}/${sampling}/${reference ? "error" : "shown"}`, () => {
      const code = assembled([
        header(material),
        this.parts["frame.wgsl"],
        this.parts["colour.wgsl"],
        this.parts["sampling.wgsl"],
        this.sourceCode(source),
        reference ? reference.code("B", 2) : "",
        this.parts["lighting.wgsl"],
        sampleCode(source, sampling, reference),
        this.parts["surface.wgsl"],
      ]);
      const layouts = [this.frameLayout, source.layout, reference ? reference.layout : this.emptyLayout, this.heightLayout];
      const attributes = [0, 12, 24, 36].map((offset, shaderLocation) => ({
        shaderLocation, offset, format: shaderLocation === 3 ? "float32x2" : "float32x3",
      }));
      return this.compile(`${key} ${sampling}`, code, layouts, (module) => ({
        vertex: { module, buffers: [{ arrayStride: 4 * VERTEX_FLOATS, attributes }] },
        fragment: { module, targets: [{ format: SCENE_FORMAT }] },
        primitive: { topology: "triangle-list" },
        depthStencil: { format: DEPTH_FORMAT, depthWriteEnabled: true, depthCompare: "less" },
      }));
    });
  }

  background() {
    return this.once("background", () => {
      const code = assembled([this.parts["frame.wgsl"], this.parts["background.wgsl"]]);
      return this.compile("background", code, [this.frameLayout], (module) => ({
        vertex: { module },
        fragment: { module, targets: [{ format: SCENE_FORMAT }] },
        depthStencil: { format: DEPTH_FORMAT, depthWriteEnabled: false, depthCompare: "always" },
      }));
    });
  }

  /** A source's heights in a small texture with mips, decoded once: the bind group that parallax reads. */
  heights(key, material, source, isNeeded) {
    return this.once(`${key}/heights/${isNeeded}`, async () => {
      const present = isNeeded && material.channels.some((channel) => channel.name === "displacement" && channel.present && !channel.holds);
      let first = 0;
      while (first < material.stored_mips - 1 && Math.max(material.width, material.height) >> first > HEIGHT_SIDE) first++;
      const size = present ? [Math.max(material.width >> first, 1), Math.max(material.height >> first, 1)] : [1, 1];
      const mips = present ? material.stored_mips - first : 1;
      const texture = this.device.createTexture({
        label: "heights", size, mipLevelCount: mips, format: "r8unorm", usage: GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.RENDER_ATTACHMENT,
      });
      if (present) await this.bakeHeights(key, material, source, texture, first, mips);
      const mode = material.wrap ? "repeat" : "clamp-to-edge";
      const sampler = this.device.createSampler({
        magFilter: "linear", minFilter: "linear", mipmapFilter: "linear", addressModeU: mode, addressModeV: mode,
      });
      return this.device.createBindGroup({
        layout: this.heightLayout,
        entries: [{ binding: 0, resource: texture.createView() }, { binding: 1, resource: sampler }],
      });
    });
  }

  async bakeHeights(key, material, source, texture, first, mips) {
    const code = assembled([header(material), this.parts["frame.wgsl"], this.parts["sampling.wgsl"], this.sourceCode(source), this.parts["heights.wgsl"]]);
    const layouts = [this.frameLayout, source.layout, this.emptyLayout, this.bakeLayout];
    const pipeline = await this.compile(`${key} heights`, code, layouts, (module) => ({
      vertex: { module },
      fragment: { module, targets: [{ format: "r8unorm" }] },
    }));
    for (let mip = 0; mip < mips; mip++) {
      const buffer = this.device.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
      this.device.queue.writeBuffer(buffer, 0, new Int32Array([first + mip, 0, 0, 0]));
      const group = this.device.createBindGroup({ layout: this.bakeLayout, entries: [{ binding: 0, resource: { buffer } }] });
      const view = texture.createView({ baseMipLevel: mip, mipLevelCount: 1 });
      const [width, height] = [Math.max(texture.width >> mip, 1), Math.max(texture.height >> mip, 1)];
      // Few rows at a time: a weak GPU must not be taken for hung.
      let rows = 8;
      for (let top = 0; top < height; ) {
        const count = Math.min(rows, height - top);
        const start = performance.now();
        const encoder = this.device.createCommandEncoder();
        const pass = encoder.beginRenderPass({ colorAttachments: [{ view, loadOp: top ? "load" : "clear", storeOp: "store" }] });
        pass.setScissorRect(0, top, width, count);
        pass.setPipeline(pipeline);
        [this.frameGroup, source.group, this.empty, group].forEach((each, i) => pass.setBindGroup(i, each));
        pass.draw(3);
        pass.end();
        this.device.queue.submit([encoder.finish()]);
        await this.device.queue.onSubmittedWorkDone();
        rows = Math.max(Math.floor((count * BAKE_BUDGET_MS) / Math.max(performance.now() - start, 1)), 4);
        top += count;
      }
    }
  }
}
