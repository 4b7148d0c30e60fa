// Without WebGPU: the maps decoded before, and the others, as images on a plain canvas.

import { element } from "./controls.js";
import { showFigures } from "./figures.js";
import { loadBitmap, loadJson, mipPlace } from "./files.js";
import { Overlays } from "./overlays.js";

/** Pack and channels of a map in the PNG files (see images.py). */
const PLACES = {
  diffuse: ["diffuse", [0, 1, 2]], normal: ["normal", [0, 1, 2]], roughness: ["surface", [0, 0, 0]], occlusion: ["surface", [1, 1, 1]],
  metallic: ["surface", [2, 2, 2]], specular: ["relief", [0, 0, 0]], displacement: ["relief", [1, 1, 1]],
};
const BROWSERS = [
  "Chrome and Edge 113 or later on Windows, macOS and ChromeOS; 121 or later on Android; on Linux 144 or later with Intel graphics, 147 with NVIDIA",
  "Safari 26 or later",
  "Firefox 141 or later on Windows; 147 or later on Macs with Apple chips",
];

function notice(root, reason) {
  root.hidden = false;
  root.replaceChildren(
    element("p", { textContent: `${reason} The maps are shown as images, decoded before, without lighting. WebGPU is in:` }),
    element("ul", {}, ...BROWSERS.map((textContent) => element("li", { textContent }))),
  );
}

export async function showFallback({ state, materials, gpu, byId, showStatus }) {
  notice(byId("notice"), gpu.reason);
  const canvas = byId("canvas");
  const context = canvas.getContext("2d");
  const pictures = new Map();
  byId("bar-hint").textContent = "Images, decoded before";
  for (const name of ["lamp", "legend"]) byId(name).hidden = true;

  /** One map of one source at one mip, as a canvas of its own. */
  async function picture(material, source, map, mip) {
    const key = [material.folder, source, map, mip].join("/");
    if (!pictures.has(key)) {
      const [pack, channels] = PLACES[map];
      const bitmap = await loadBitmap(`${material.folder}/${source}/${pack}.png`);
      const { x, y, width, height } = mipPlace(material.width, material.height, mip);
      const sheet = element("canvas", { width, height });
      const drawing = sheet.getContext("2d", { willReadFrequently: true });
      drawing.drawImage(bitmap, x, y, width, height, 0, 0, width, height);
      bitmap.close();
      const image = drawing.getImageData(0, 0, width, height);
      for (let i = 0; i < image.data.length; i += 4) {
        const [r, g, b] = channels.map((channel) => image.data[i + channel]);
        image.data.set([r, g, b, 255], i);
      }
      drawing.putImageData(image, 0, 0);
      pictures.set(key, sheet);
    }
    return pictures.get(key);
  }

  let turn = 0;
  let drawn = Promise.resolve();
  async function draw() {
    const mine = ++turn;
    const { values } = state;
    const isSplit = values.view === "split";
    const wanted = [[materials[values.material], values.source], ...(isSplit ? [[materials[values.materialB], values.sourceB]] : [])];
    try {
      if (wanted.some(([material, source]) => !pictures.has([material.folder, source, values.map, values.mip].join("/")))) showStatus("Loading", "");
      const sheets = await Promise.all(wanted.map(([material, source]) => picture(material, source, values.map, values.mip)));
      const figures = await Promise.all(wanted.map(([material, source]) => loadJson(`${material.folder}/${source}/figures.json`)));
      if (mine !== turn) return;
      showStatus("");
      showFigures(byId("figures"), wanted.map(([material, id], i) => ({ material, id, source: { figures: figures[i] } })), values.mip);
      const { width, height } = canvas;
      context.imageSmoothingEnabled = false;
      context.fillStyle = "#14151a";
      context.fillRect(0, 0, width, height);
      const { width: across, height: down } = materials[values.material];
      const scale = Math.min(width / across, height / down) * 0.92;
      const box = [(width - across * scale) / 2, (height - down * scale) / 2, across * scale, down * scale].map(Math.round);
      sheets.forEach((sheet, i) => {
        const from = i === 0 ? 0 : Math.round(values.split * width);
        const to = i === 0 && isSplit ? Math.round(values.split * width) : width;
        context.save();
        context.beginPath();
        context.rect(from, 0, to - from, height);
        context.clip();
        context.drawImage(sheet, ...box);
        context.restore();
      });
    } catch (error) {
      if (mine === turn) showStatus("This cannot be shown", error.message, true);
    }
  }

  const overlays = new Overlays(byId, state, materials);
  const refresh = () => {
    overlays.update();
    drawn = draw();
  };
  state.onChange(refresh);
  new ResizeObserver(() => {
    canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
    canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
    refresh();
  }).observe(canvas);
  refresh();
  return {
    state,
    settled: () => drawn,
    set: (changes) => state.set(changes),
    pixels: async () => {
      await drawn;
      const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
      return { width, height, data };
    },
  };
}
