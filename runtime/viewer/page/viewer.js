// The picture by WebGPU: the frame loop, cameras, the divider, the lamp, and figures of what is shown.

import { FlatCamera, OrbitCamera, transform } from "./camera.js";
import { Environment } from "./environment.js";
import { showFigures } from "./figures.js";
import { cameraMatrices, describeFrame, lightPosition } from "./frame.js";
import { imageLayout } from "./images.js";
import { bindArrows, bindCanvas, bindDrag } from "./input.js";
import { Meshes } from "./meshes.js";
import { Overlays } from "./overlays.js";
import { Pipelines } from "./pipelines.js";
import { Renderer } from "./renderer.js";
import { Scene } from "./scene.js";
import { Targets } from "./targets.js";

/** Changes that need other sources or shaders; all others need a new frame alone. */
const SIDES = ["material", "source", "materialB", "sourceB", "view", "sampling"];

export async function showViewer({ state, materials, gpu, byId, showStatus }) {
  const { device } = gpu;
  const canvas = byId("canvas");
  const format = navigator.gpu.getPreferredCanvasFormat();
  const environment = await Environment.create(device);
  const layout = imageLayout(device);
  const [pipelines, targets] = await Promise.all([Pipelines.create(device, environment, layout), Targets.create(device, format)]);
  const meshes = new Meshes(device);
  const renderer = new Renderer(device, canvas, { pipelines, targets, meshes, environment, format });
  const scene = new Scene(device, pipelines, materials, state, layout);
  const cameras = { orbit: new OrbitCamera(), flat: new FlatCamera() };
  let preparing = Promise.resolve();
  let sides = [];

  const material = () => materials[state.values.material];
  const isFlat = () => state.values.mesh === "flat";
  const sheet = () => [material().width, material().height].map((side) => side * (material().wrap ? state.values.tiling : 1));

  const moved = () => {
    renderer.invalidate(true);
    placeOverlays();
  };
  bindCanvas(canvas, {
    rotate: (dx, dy) => {
      if (isFlat()) cameras.flat.pan(dx, dy);
      else cameras.orbit.rotate((dx * 700) / canvas.height, (dy * 700) / canvas.height);
      moved();
    },
    pan: (dx, dy) => {
      if (isFlat()) cameras.flat.pan(dx, dy);
      else cameras.orbit.pan(dx, dy, canvas.height);
      moved();
    },
    zoom: (factor) => {
      if (isFlat()) cameras.flat.zoom(factor, canvas.width, canvas.height, sheet());
      else cameras.orbit.zoom(factor);
      moved();
    },
    reset: () => {
      (isFlat() ? cameras.flat : cameras.orbit).reset();
      moved();
    },
    fullSize: () => {
      Object.assign(cameras.flat, { texelPixels: 1, offset: [0, 0] });
      moved();
    },
  });

  const overlays = new Overlays(byId, state, materials);
  const moveLamp = (dx, dy) => {
    const azimuth = ((state.values.azimuth + dx + 540) % 360) - 180;
    state.set({ azimuth: Math.round(azimuth), elevation: Math.round(Math.min(Math.max(state.values.elevation - dy, -85), 85)) });
  };
  bindDrag(byId("lamp"), byId("stage"), (x, y, dx, dy) => moveLamp(dx * 0.5, dy * 0.5));
  bindArrows(byId("lamp"), (dx, dy) => moveLamp(5 * dx, 5 * dy));

  function placeOverlays() {
    const { values } = state;
    const isError = values.view === "error";
    overlays.update();
    byId("legend").hidden = !isError;
    byId("legend-end").textContent = `${Math.round((2550 / values.amplify)) / 10} of 255 steps${values.map === "lit" ? ", mean of all maps" : ""}`;
    byId("bar-hint").textContent = isFlat() ? "Drag moves · wheel zooms · 1 one pixel a texel · 0 fits" : "Drag turns · Shift-drag moves · wheel zooms · 0 resets";
    const lamp = byId("lamp");
    lamp.hidden = values.map !== "lit" || isError || isFlat() || values.light === 0;
    if (lamp.hidden || !canvas.width) return;
    const { viewProjection } = cameraMatrices(values, cameras, material(), [canvas.width, canvas.height], canvas);
    const [x, y] = transform(viewProjection, lightPosition(values));
    lamp.style.left = `${Math.min(Math.max(50 + 50 * x, 3), 97)}%`;
    lamp.style.top = `${Math.min(Math.max(50 - 50 * y, 4), 94)}%`;
  }

  function showNotice() {
    const { label, missing } = material().sources.find((source) => source.id === "neural");
    byId("notice").hidden = !missing;
    byId("notice").textContent = `${label}: ${missing}. Its maps are shown as images, decoded before.`;
  }

  function updateFigures() {
    if (sides.length) showFigures(byId("figures"), sides, Math.max(state.values.mip, 0));
  }

  async function prepare() {
    try {
      const prepared = await scene.prepare();
      if (!prepared) return;
      sides = prepared.sides;
      renderer.show(sides, () => describeFrame({ values: state.values, cameras, material: material(), canvas, background: prepared.background }));
      updateFigures();
    } catch (error) {
      showStatus("This cannot be shown", error.message, true);
    }
  }
  scene.onStatus = showStatus;
  // The news of a lost device may come a moment later, and says more.
  renderer.onError = (error) => setTimeout(() => renderer.isLost || showStatus("Drawing failed", error.message, true), 500);
  renderer.onFrame = ({ ms, size, samples, isExact }) => {
    const share = Math.round((100 * size[0]) / canvas.width);
    byId("bar-frame").textContent = `${ms < 10 ? ms.toFixed(2) : ms.toFixed(0)} ms a frame${isExact ? " on the GPU" : ""} · ${size[0]} × ${size[1]}${share < 100 ? ` (${share} %)` : ""} · ${samples} sample${samples > 1 ? "s" : ""}`;
  };
  state.onChange((changed) => {
    placeOverlays();
    if (SIDES.some((name) => changed.has(name)) || (scene.needsRelief() && !scene.hasRelief)) preparing = prepare();
    else renderer.invalidate(["split", "azimuth", "elevation", "rotation", "tiling", "parallax"].some((name) => changed.has(name)));
    if (changed.has("mip")) updateFigures();
    if (changed.has("material")) showNotice();
  });

  new ResizeObserver(([entry]) => {
    const box = entry.devicePixelContentBoxSize?.[0];
    const limit = device.limits.maxTextureDimension2D;
    canvas.width = Math.min(Math.max(box ? box.inlineSize : Math.round(canvas.clientWidth * devicePixelRatio), 1), limit);
    canvas.height = Math.min(Math.max(box ? box.blockSize : Math.round(canvas.clientHeight * devicePixelRatio), 1), limit);
    // Few pixels at once, where all would take long: until the next frame the browser stretches the old one.
    moved();
  }).observe(canvas);
  device.lost.then(({ message, reason }) => {
    renderer.isLost = true;
    if (reason !== "destroyed") showStatus("The graphics adapter was lost", `${message} Load the page again.`, true);
  });

  placeOverlays();
  showNotice();
  preparing = prepare();
  await preparing;
  return {
    state,
    renderer,
    cameras,
    gpuName: gpu.name,
    /** Resolves when all that was asked for is loaded, compiled and drawn to its last sample. */
    async settled() {
      await preparing;
      await renderer.settled();
    },
    pixels: () => renderer.pixels(),
    set: (changes) => state.set(changes),
  };
}
