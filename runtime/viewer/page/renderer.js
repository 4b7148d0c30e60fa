// The frame loop: few pixels while the camera moves on a slow GPU, all of them and one sample after another at rest.

import { Timer } from "./gpu.js";

const RESTING_MS = 180;
const MOVING_BUDGET_MS = 27;
const BAND_BUDGET_MS = 60;
const STILL_BUDGET_MS = 12000;
const LEAST_SAMPLES = 4;
const LEAST_SCALE = 0.15;
const PLAIN_CLEAR = [0.078, 0.082, 0.094];
const LIT_CLEAR = [0.0065, 0.007, 0.0085];

export class Renderer {
  constructor(device, canvas, { pipelines, targets, meshes, environment, format }) {
    Object.assign(this, { device, canvas, pipelines, targets, meshes, environment, format });
    this.context = canvas.getContext("webgpu");
    this.context.configure({ device, format, alphaMode: "opaque", usage: GPUTextureUsage.RENDER_ATTACHMENT });
    this.timer = new Timer(device);
    this.sides = [];
    this.count = 0;
    this.version = 0;
    this.movedAt = -Infinity;
    /** Milliseconds for a million pixels, and for the last whole frame. */
    this.cost = null;
    this.frameMs = null;
    this.size = [1, 1];
    this.waiting = [];
    this.isRunning = false;
    this.onFrame = () => {};
    this.onError = () => {};
  }

  /** `describe()` gives the frame's values, see `frameData`; sides are {pipeline, groups, from, to} in shares of the width. */
  show(sides, describe) {
    this.sides = sides;
    this.describe = describe;
    this.cost = null;
    this.isWarm = false;
    this.invalidate();
  }

  invalidate(isMoving = false) {
    this.version++;
    this.count = 0;
    if (isMoving) this.movedAt = performance.now();
    if (!this.isRunning && this.describe) {
      this.isRunning = true;
      this.loop();
    }
  }

  /** Resolves when the picture is complete and nothing is left to draw. */
  settled() {
    if (!this.isRunning && this.describe) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  async loop() {
    try {
      while (!this.isLost) {
        await new Promise(requestAnimationFrame);
        if (!this.canvas.width || !this.canvas.height || !this.sides.length) break;
        const isResting = performance.now() - this.movedAt > RESTING_MS;
        const view = this.describe();
        // Where a frame takes seconds, so do all samples: a few are enough.
        const samples = Math.min(view.samples, Math.max(Math.round(STILL_BUDGET_MS / (this.frameMs || 1)), LEAST_SAMPLES));
        const isComplete = this.count >= samples && this.isFinal(view);
        if (isResting && isComplete) break;
        if (!isComplete) await this.sample(view, isResting);
      }
    } catch (error) {
      // A lost device is told of by itself.
      if (!this.isLost) this.onError(error);
    } finally {
      this.isRunning = false;
      const done = this.waiting;
      this.waiting = [];
      for (const resolve of done) resolve();
    }
  }

  /** Whether the picture has the resolution that it ends with. */
  isFinal(view) {
    const [width, height] = this.sizeAt(this.scaleFor(view, true));
    return this.cost !== null && this.size[0] === width && this.size[1] === height;
  }

  sizeAt(scale) {
    return [this.canvas.width, this.canvas.height].map((side) => Math.max(Math.round(side * scale), 1));
  }

  scaleFor(view, isResting) {
    if (view.resolution !== "auto") return Number(view.resolution);
    if (isResting && this.cost !== null) return 1;
    // Before the first measurement a weak GPU could take seconds for a whole frame.
    if (this.cost === null) return LEAST_SCALE;
    const pixels = (this.canvas.width * this.canvas.height) / 1e6;
    const scale = Math.sqrt(MOVING_BUDGET_MS / Math.max(this.cost * pixels, 1e-6));
    return scale > 0.9 ? 1 : Math.max(Math.round(scale * 16) / 16, LEAST_SCALE);
  }

  async sample(view, isResting) {
    const [width, height] = [this.canvas.width, this.canvas.height];
    if (this.targets.resize(width, height)) this.count = 0;
    const size = this.sizeAt(this.scaleFor(view, isResting));
    if (size[0] !== this.size[0] || size[1] !== this.size[1]) this.count = 0;
    this.size = size;
    const version = this.version;
    const number = this.count;
    this.environment.show(view.environment);
    this.device.queue.writeBuffer(this.pipelines.frameBuffer, 0, view.frame(size, number));
    let total = 0;
    for (let top = 0; top < size[1]; ) {
      // What was begun for another view is worth nothing.
      if (top > 0 && version !== this.version) return;
      const rows = Math.floor((BAND_BUDGET_MS * 1e6) / ((this.cost ?? 0) * size[0] || 1));
      const bottom = Math.min(top + Math.max(rows, 8), size[1]);
      const ms = await this.drawBand(view, size, top, bottom, top === 0);
      total += ms;
      this.measure((ms * 1e6) / (size[0] * (bottom - top)));
      top = bottom;
    }
    this.frameMs = total;
    const encoder = this.device.createCommandEncoder();
    this.targets.describe({ size, exposure: view.exposure, weight: 1 / (number + 1), isPlain: view.isPlain });
    this.targets.accumulate(encoder, size);
    this.targets.show(encoder, this.context.getCurrentTexture().createView());
    this.device.queue.submit([encoder.finish()]);
    if (version === this.version) this.count++;
    this.onFrame({ ms: total, size, samples: number + 1, isExact: this.timer.isExact });
  }

  /** Take a measurement, milliseconds for a million pixels. The first one has the driver's preparations in it. */
  measure(cost) {
    if (this.isWarm) this.cost = this.cost === null ? cost : 0.7 * this.cost + 0.3 * cost;
    this.isWarm = true;
  }

  async drawBand(view, size, top, bottom, isFirst) {
    const encoder = this.device.createCommandEncoder();
    const [r, g, b] = view.isPlain ? PLAIN_CLEAR : LIT_CLEAR;
    const pass = encoder.beginRenderPass({
      colorAttachments: [{ view: this.targets.sceneView, clearValue: [r, g, b, 1], loadOp: isFirst ? "clear" : "load", storeOp: "store" }],
      depthStencilAttachment: { view: this.targets.depthView, depthClearValue: 1, depthLoadOp: isFirst ? "clear" : "load", depthStoreOp: "store" },
      ...this.timer.writes(),
    });
    pass.setViewport(0, 0, size[0], size[1], 0, 1);
    pass.setBindGroup(0, this.pipelines.frameGroup);
    if (view.background) {
      pass.setScissorRect(0, top, size[0], bottom - top);
      pass.setPipeline(view.background);
      pass.draw(3);
    }
    const mesh = this.meshes.get(view.mesh);
    pass.setVertexBuffer(0, mesh.vertices);
    pass.setIndexBuffer(mesh.indices, "uint32");
    for (const side of this.sides) {
      const from = Math.round(size[0] * side.from());
      const to = Math.round(size[0] * side.to());
      if (to <= from) continue;
      pass.setScissorRect(from, top, to - from, bottom - top);
      pass.setPipeline(side.pipeline);
      side.groups.forEach((group, i) => pass.setBindGroup(i + 1, group));
      pass.drawIndexed(mesh.count);
    }
    pass.end();
    this.timer.resolve(encoder);
    return this.timer.run(encoder.finish());
  }

  /** What is on the canvas, as {width, height, data: RGBA bytes}. */
  async pixels() {
    await this.settled();
    const { width, height } = this.canvas;
    const texture = this.device.createTexture({ size: [width, height], format: this.format, usage: GPUTextureUsage.RENDER_ATTACHMENT | GPUTextureUsage.COPY_SRC });
    const bytesPerRow = Math.ceil((width * 4) / 256) * 256;
    const buffer = this.device.createBuffer({ size: bytesPerRow * height, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const encoder = this.device.createCommandEncoder();
    this.targets.show(encoder, texture.createView());
    encoder.copyTextureToBuffer({ texture }, { buffer, bytesPerRow }, [width, height]);
    this.device.queue.submit([encoder.finish()]);
    await buffer.mapAsync(GPUMapMode.READ);
    const rows = new Uint8Array(buffer.getMappedRange());
    const data = new Uint8Array(width * height * 4);
    for (let y = 0; y < height; y++) data.set(rows.subarray(y * bytesPerRow, y * bytesPerRow + width * 4), y * width * 4);
    buffer.unmap();
    texture.destroy();
    buffer.destroy();
    if (this.format.startsWith("bgra")) {
      for (let i = 0; i < data.length; i += 4) [data[i], data[i + 2]] = [data[i + 2], data[i]];
    }
    return { width, height, data };
  }
}
