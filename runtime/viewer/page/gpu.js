// The GPU device, and how long work on it takes.

/** Ask for a device; returns {device} or {reason}, one sentence that says why there is none. */
export async function openGpu() {
  if (!navigator.gpu) {
    return { reason: isSecureContext ? "This browser has no WebGPU." : "WebGPU needs https or a loopback address." };
  }
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  if (!adapter) return { reason: "WebGPU found no usable graphics adapter." };
  const features = ["timestamp-query", "shader-f16"].filter((feature) => adapter.features.has(feature));
  const wanted = ["maxTextureDimension2D", "maxSampledTexturesPerShaderStage", "maxStorageBufferBindingSize", "maxBufferSize"];
  const requiredLimits = Object.fromEntries(wanted.map((name) => [name, adapter.limits[name]]));
  try {
    const device = await adapter.requestDevice({ requiredFeatures: features, requiredLimits });
    const info = adapter.info ?? {};
    const name = info.description || [info.vendor, info.architecture].filter(Boolean).join(" ") || "GPU";
    return { device, name };
  } catch (error) {
    return { reason: `WebGPU could not open the graphics adapter: ${error.message}` };
  }
}

/** Times one pass at a time: by timestamps of the GPU where it has them, else by the clock around it. */
export class Timer {
  constructor(device) {
    this.device = device;
    this.isExact = device.features.has("timestamp-query");
    if (this.isExact) {
      this.set = device.createQuerySet({ type: "timestamp", count: 2 });
      this.resolved = device.createBuffer({ size: 16, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
      this.read = device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    }
  }

  writes() {
    return this.isExact ? { timestampWrites: { querySet: this.set, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 } } : {};
  }

  resolve(encoder) {
    if (!this.isExact) return;
    encoder.resolveQuerySet(this.set, 0, 2, this.resolved, 0);
    encoder.copyBufferToBuffer(this.resolved, 0, this.read, 0, 16);
  }

  /** Submit and wait; returns milliseconds. */
  async run(commands) {
    const start = performance.now();
    this.device.queue.submit([commands]);
    if (this.isExact) {
      await this.read.mapAsync(GPUMapMode.READ);
      const [begin, end] = new BigUint64Array(this.read.getMappedRange().slice(0));
      this.read.unmap();
      // Some drivers leave a stamp out.
      if (end > begin) return Number(end - begin) / 1e6;
    } else {
      await this.device.queue.onSubmittedWorkDone();
    }
    return performance.now() - start;
  }
}
