// Procedural lighting, prefiltered on the GPU into two cube maps: GGX lobes by mip, and irradiance.

import { loadText } from "./files.js";

export const ENVIRONMENTS = ["studio", "daylight", "sunset", "overcast"];
const SIDE = 128;
const MIPS = 6;
const IRRADIANCE_SIDE = 16;
const FORMAT = "rgba16float";
const JOB_BYTES = 256;

export class Environment {
  static async create(device) {
    const module = device.createShaderModule({ label: "environment", code: await loadText("environment.wgsl") });
    const pipeline = await device.createRenderPipelineAsync({
      label: "environment",
      layout: "auto",
      vertex: { module },
      fragment: { module, targets: [{ format: FORMAT }] },
    });
    return new Environment(device, pipeline);
  }

  constructor(device, pipeline) {
    this.device = device;
    this.pipeline = pipeline;
    this.specular = this.cube(SIDE, MIPS);
    this.irradiance = this.cube(IRRADIANCE_SIDE, 1);
    this.shown = null;
  }

  cube(side, mipLevelCount) {
    return this.device.createTexture({
      size: [side, side, 6], mipLevelCount, format: FORMAT, usage: GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.RENDER_ATTACHMENT,
    });
  }

  views() {
    return [this.specular.createView({ dimension: "cube" }), this.irradiance.createView({ dimension: "cube" })];
  }

  /** Fill the cube maps with an environment by name. */
  show(name) {
    if (this.shown === name) return;
    this.shown = name;
    const jobs = [];
    for (let face = 0; face < 6; face++) {
      for (let mip = 0; mip < MIPS; mip++) {
        const roughness = mip / (MIPS - 1);
        jobs.push({ texture: this.specular, face, mip, roughness, samples: mip ? 96 : 1, cosine: 0, side: SIDE >> mip });
      }
      jobs.push({ texture: this.irradiance, face, mip: 0, roughness: 1, samples: 512, cosine: 1, side: IRRADIANCE_SIDE });
    }
    const data = new ArrayBuffer(jobs.length * JOB_BYTES);
    jobs.forEach((job, i) => {
      new Uint32Array(data, i * JOB_BYTES, 4).set([job.face, ENVIRONMENTS.indexOf(name), job.samples, job.cosine]);
      new Float32Array(data, i * JOB_BYTES + 16, 4).set([job.roughness, job.side, 0, 0]);
    });
    const buffer = this.device.createBuffer({ size: data.byteLength, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    this.device.queue.writeBuffer(buffer, 0, data);
    const encoder = this.device.createCommandEncoder();
    jobs.forEach((job, i) => {
      const group = this.device.createBindGroup({
        layout: this.pipeline.getBindGroupLayout(0),
        entries: [{ binding: 0, resource: { buffer, offset: i * JOB_BYTES, size: 32 } }],
      });
      const view = job.texture.createView({ dimension: "2d", baseArrayLayer: job.face, arrayLayerCount: 1, baseMipLevel: job.mip, mipLevelCount: 1 });
      const pass = encoder.beginRenderPass({ colorAttachments: [{ view, loadOp: "clear", storeOp: "store" }] });
      pass.setPipeline(this.pipeline);
      pass.setBindGroup(0, group);
      pass.draw(3);
      pass.end();
    });
    this.device.queue.submit([encoder.finish()]);
  }
}
