// A material in images on the GPU: originals, BC7, ASTC, or maps decoded before.

import { loadBitmap, loadJson, loadText, mipPlace } from "./files.js";

const PACKS = ["diffuse", "normal", "surface", "relief"];

export function imageLayout(device) {
  const texture = (binding) => ({ binding, visibility: GPUShaderStage.FRAGMENT, texture: { sampleType: "float" } });
  return device.createBindGroupLayout({
    label: "images",
    entries: [...PACKS.map((_, binding) => texture(binding)), { binding: 4, visibility: GPUShaderStage.FRAGMENT, sampler: { type: "filtering" } }],
  });
}

function missingTexture(device) {
  return device.createTexture({ size: [1, 1], format: "rgba8unorm", usage: GPUTextureUsage.TEXTURE_BINDING, viewFormats: ["rgba8unorm-srgb"] });
}

async function packTexture(device, path, material, mips) {
  const texture = device.createTexture({
    label: path,
    size: [material.width, material.height],
    format: "rgba8unorm",
    viewFormats: ["rgba8unorm-srgb"],
    mipLevelCount: mips,
    usage: GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST | GPUTextureUsage.RENDER_ATTACHMENT,
  });
  const bitmap = await loadBitmap(path);
  for (let mipLevel = 0; mipLevel < mips; mipLevel++) {
    const { x, y, width, height } = mipPlace(material.width, material.height, mipLevel);
    device.queue.copyExternalImageToTexture({ source: bitmap, origin: { x, y } }, { texture, mipLevel }, [width, height]);
  }
  bitmap.close();
  return texture;
}

/** Load one source of a material: {code(name, group), layout, group, figures}. */
export async function loadImages(device, layout, folder, source, material) {
  const limit = device.limits.maxTextureDimension2D;
  if (Math.max(material.width, material.height) > limit) throw new Error(`this GPU takes images of up to ${limit} texels a side`);
  const figures = await loadJson(`${folder}/${source}/figures.json`);
  const code = await loadText("image.wgsl");
  const textures = await Promise.all(
    PACKS.map((pack) =>
      material.packs.includes(pack)
        ? packTexture(device, `${folder}/${source}/${pack}.png`, material, figures.mips)
        : missingTexture(device),
    ),
  );
  const mode = material.wrap ? "repeat" : "clamp-to-edge";
  const sampler = device.createSampler({
    magFilter: "linear", minFilter: "linear", mipmapFilter: "linear", addressModeU: mode, addressModeV: mode, maxAnisotropy: 16,
  });
  const views = textures.map((texture, i) => texture.createView({ format: PACKS[i] === "diffuse" ? "rgba8unorm-srgb" : "rgba8unorm" }));
  const entries = [...views.map((resource, binding) => ({ binding, resource })), { binding: 4, resource: sampler }];
  return {
    code: (name, group) => code.replaceAll("NAME", name).replaceAll("GROUP", String(group)),
    isNeural: false,
    layout,
    group: device.createBindGroup({ layout, entries }),
    figures,
  };
}
