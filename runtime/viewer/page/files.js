// Files of the site, fetched once; an error is the server's own sentence.

const opened = new Map();

async function fetched(path, kind) {
  const response = await fetch(path);
  if (!response.ok) {
    const text = response.headers.get("Content-Type")?.startsWith("text/plain") ? await response.text() : "";
    throw new Error(text || `${path} cannot be loaded (${response.status})`);
  }
  return response[kind]();
}

function once(path, kind) {
  const key = `${kind}:${path}`;
  if (!opened.has(key)) {
    const promise = fetched(path, kind);
    promise.catch(() => opened.delete(key));
    opened.set(key, promise);
  }
  return opened.get(key);
}

export const loadJson = (path) => once(path, "json");
export const loadText = (path) => once(path, "text");
/** Large files are not kept: they go to the GPU. */
export const loadBytes = (path) => fetched(path, "arrayBuffer");

/** Load a PNG without any colour management: its bytes are data. */
export async function loadBitmap(path) {
  const blob = await fetched(path, "blob");
  return createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}

/** Place of a mip in a mip-chain picture (see images.py): {x, y, width, height}. */
export function mipPlace(width, height, mip) {
  let y = 0;
  for (let m = 1; m < mip; m++) y += Math.max(height >> m, 1);
  return { x: mip ? width : 0, y, width: Math.max(width >> mip, 1), height: Math.max(height >> mip, 1) };
}
