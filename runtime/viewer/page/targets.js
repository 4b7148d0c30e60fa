// Textures that a picture is drawn into: the newest sample, its depth, and the running mean of all samples.

import { loadText } from "./files.js";
import { DEPTH_FORMAT, SCENE_FORMAT } from "./pipelines.js";

export class Targets {
  static async create(device, canvasFormat) {
    const parts = await Promise.all(["colour.wgsl", "present.wgsl"].map(loadText));
    const module = device.createShaderModule({ label: "present", code: parts.join("\n") });
    const visibility = GPUShaderStage.FRAGMENT;
    const bindings = device.createBindGroupLayout({
      label: "present",
      entries: [
        { binding: 0, visibility, buffer: { type: "uniform" } },
        { binding: 1, visibility, texture: { sampleType: "float" } },
        { binding: 2, visibility, texture: { sampleType: "float" } },
        { binding: 3, visibility, sampler: { type: "filtering" } },
      ],
    });
    const layout = device.createPipelineLayout({ bindGroupLayouts: [bindings] });
    const pipeline = (entryPoint, format) =>
      device.createRenderPipelineAsync({ label: entryPoint, layout, vertex: { module }, fragment: { module, entryPoint, targets: [{ format }] } });
    const [accumulate, show] = await Promise.all([pipeline("accumulate", SCENE_FORMAT), pipeline("show", canvasFormat)]);
    return new Targets(device, bindings, accumulate, show);
  }

  constructor(device, bindings, accumulate, show) {
    Object.assign(this, { device, bindings, accumulatePipeline: accumulate, showPipeline: show, width: 0, height: 0, latest: 0 });
    this.uniforms = device.createBuffer({ size: 32, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    this.sampler = device.createSampler({ magFilter: "linear", minFilter: "linear" });
  }

  /** Make the textures for a canvas of this size; returns whether they are new. */
  resize(width, height) {
    if (width === this.width && height === this.height) return false;
    for (const texture of [this.scene, this.depth, ...(this.means ?? [])]) texture?.destroy();
    const usage = GPUTextureUsage.RENDER_ATTACHMENT | GPUTextureUsage.TEXTURE_BINDING;
    const make = (format) => this.device.createTexture({ size: [width, height], format, usage });
    Object.assign(this, { width, height, scene: make(SCENE_FORMAT), depth: make(DEPTH_FORMAT), means: [make(SCENE_FORMAT), make(SCENE_FORMAT)] });
    this.sceneView = this.scene.createView();
    this.depthView = this.depth.createView();
    this.meanViews = this.means.map((texture) => texture.createView());
    this.groups = [0, 1].map((mean) =>
      this.device.createBindGroup({
        layout: this.bindings,
        entries: [
          { binding: 0, resource: { buffer: this.uniforms } },
          { binding: 1, resource: this.sceneView },
          { binding: 2, resource: this.meanViews[mean] },
          { binding: 3, resource: this.sampler },
        ],
      }),
    );
    return true;
  }

  describe({ size, exposure, weight, isPlain }) {
    const isExact = size[0] === this.width && size[1] === this.height;
    const data = new Float32Array([...size, exposure, weight, this.width, this.height, isPlain ? 1 : 0, isExact ? 1 : 0]);
    this.device.queue.writeBuffer(this.uniforms, 0, data);
  }

  /** Take the newest sample into the mean. */
  accumulate(encoder, size) {
    const next = 1 - this.latest;
    const pass = encoder.beginRenderPass({ colorAttachments: [{ view: this.meanViews[next], loadOp: "load", storeOp: "store" }] });
    pass.setViewport(0, 0, size[0], size[1], 0, 1);
    pass.setPipeline(this.accumulatePipeline);
    pass.setBindGroup(0, this.groups[this.latest]);
    pass.draw(3);
    pass.end();
    this.latest = next;
  }

  /** Draw the mean to a view of the canvas. */
  show(encoder, view) {
    const pass = encoder.beginRenderPass({ colorAttachments: [{ view, loadOp: "clear", storeOp: "store" }] });
    pass.setPipeline(this.showPipeline);
    pass.setBindGroup(0, this.groups[this.latest]);
    pass.draw(3);
    pass.end();
  }
}
