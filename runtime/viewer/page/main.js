// The page: what was opened, the panel, and the picture by WebGPU or, without it, by images.

import { Panel } from "./controls.js";
import { showFallback } from "./fallback.js";
import { loadJson } from "./files.js";
import { openGpu } from "./gpu.js";
import { State } from "./state.js";
import { showViewer } from "./viewer.js";

const byId = (id) => document.getElementById(id);

export function showStatus(title, text = "", isError = false) {
  byId("status").hidden = !title;
  byId("status").classList.toggle("is-error", isError);
  byId("status-title").textContent = title;
  byId("status-text").textContent = text;
}

async function loadMaterials() {
  const list = await loadJson("materials.json");
  return Promise.all(list.map(async ({ folder, label }) => ({ ...(await loadJson(`${folder}/material.json`)), folder, label })));
}

/** Keep the state to what there is: runs that were opened, sources and maps that are not missing. */
function fitState(state, materials, isFallback) {
  const fit = () => {
    const changes = {};
    for (const [run, source] of [["material", "source"], ["materialB", "sourceB"]]) {
      const index = Math.min(state.values[run], materials.length - 1);
      changes[run] = index;
      const there = materials[index].sources.filter((each) => !each.missing).map((each) => each.id);
      if (!there.includes(state.values[source])) changes[source] = source === "source" && there.includes("baked") ? "baked" : there[0];
    }
    const material = materials[changes.material];
    const hasMap = (map) => (map === "lit" && !isFallback) || material.channels.some((channel) => channel.name === map && channel.present);
    if (!hasMap(state.values.map)) changes.map = isFallback ? material.channels.find((channel) => channel.present).name : "lit";
    if (state.values.mip >= material.stored_mips) changes.mip = material.stored_mips - 1;
    if (isFallback && state.values.mip < 0) changes.mip = 0;
    if (isFallback && state.values.view === "error") changes.view = "split";
    if (state.values.view === "error" && material.sources.find((each) => each.id === "original").missing) changes.view = "single";
    state.set(changes);
  };
  fit();
  state.onChange(fit);
}

async function start() {
  const state = new State();
  const [materials, gpu] = await Promise.all([loadMaterials(), openGpu()]);
  const isFallback = !gpu.device;
  if (isFallback) {
    // A source that only a shader can show is not offered.
    for (const material of materials) material.sources = material.sources.filter((source) => source.id !== "neural");
  }
  // A second run is what one wants to compare with.
  if (materials.length > 1 && !location.hash) state.set({ view: "split", materialB: 1, sourceB: isFallback ? "baked" : materials[1].sources[0].id });
  fitState(state, materials, isFallback);
  const describe = () => {
    const material = materials[state.values.material];
    byId("title").textContent = material.name;
    byId("subtitle").textContent = `${material.width} × ${material.height} · ${material.run}`;
    document.title = `${material.name} · neural texture`;
  };
  describe();
  state.onChange(describe);
  new Panel(byId("controls"), state, materials, { limited: isFallback });
  const show = isFallback ? showFallback : showViewer;
  window.viewer = await show({ state, materials, gpu, byId, showStatus });
  document.documentElement.dataset.ready = isFallback ? "images" : "webgpu";
}

start().catch((error) => {
  showStatus("The viewer could not start", error.message, true);
  document.documentElement.dataset.ready = "failed";
  console.error(error);
});
