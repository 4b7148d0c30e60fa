// DDS files with a DX10 header, as the toolkit writes them: one 2D texture with its mips.

const HEADER_BYTES = 4 + 124 + 20;
const FORMATS = {
  28: { name: "rgba8unorm", texelBytes: 4, sample: "float" },
  42: { name: "r32uint", texelBytes: 4, sample: "uint" },
  17: { name: "rg32uint", texelBytes: 8, sample: "uint" },
  3: { name: "rgba32uint", texelBytes: 16, sample: "uint" },
};

/** Return {width, height, format, levels: [Uint8Array, finest first]}; throws where the file is not such a texture. */
export function parseDds(buffer, name) {
  const view = new DataView(buffer);
  if (buffer.byteLength < HEADER_BYTES || view.getUint32(0, true) !== 0x20534444 || view.getUint32(84, true) !== 0x30315844) {
    throw new Error(`${name} is not a DDS file with a DX10 header`);
  }
  const height = view.getUint32(12, true);
  const width = view.getUint32(16, true);
  const mips = Math.max(view.getUint32(28, true), 1);
  const format = FORMATS[view.getUint32(128, true)];
  if (!format) throw new Error(`${name} has DXGI format ${view.getUint32(128, true)}, which the viewer cannot read`);
  const levels = [];
  let start = HEADER_BYTES;
  for (let mip = 0; mip < mips; mip++) {
    const size = Math.max(width >> mip, 1) * Math.max(height >> mip, 1) * format.texelBytes;
    if (start + size > buffer.byteLength) throw new Error(`${name} is truncated`);
    levels.push(new Uint8Array(buffer, start, size));
    start += size;
  }
  return { width, height, format, levels };
}
