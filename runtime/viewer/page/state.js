// What the page shows: one flat record with its limits, kept in the address so that a view can be passed on.

import { ENVIRONMENTS } from "./environment.js";

export const MAPS = ["lit", "diffuse", "normal", "roughness", "occlusion", "metallic", "specular", "displacement"];

/** Choices by name, or [least, most] of a number. */
const LIMITS = {
  view: ["single", "split", "error"],
  mesh: ["sphere", "plane", "cube", "cloth", "flat"],
  map: MAPS,
  sampling: ["stochastic", "smooth", "nearest"],
  environment: ENVIRONMENTS,
  resolution: ["auto", "1", "0.75", "0.5", "0.25"],
  source: null,
  sourceB: null,
};
const RANGES = {
  material: [0, 1e6], materialB: [0, 1e6], mip: [-1, 31], tiling: [1, 8], parallax: [0, 0.2], amplify: [1, 64], split: [0, 1],
  rotation: [0, 360], brightness: [0, 3], exposure: [-4, 4], light: [0, 4], azimuth: [-180, 180], elevation: [-85, 85], background: [0, 1],
};
const WHOLE = new Set(["material", "materialB", "mip", "tiling", "background"]);

export const DEFAULTS = {
  material: 0, source: "neural", materialB: 0, sourceB: "original", view: "single", split: 0.5, amplify: 8, mesh: "sphere", map: "lit", mip: -1,
  sampling: "stochastic", tiling: 2, parallax: 0.04, environment: "studio", rotation: 0, brightness: 1, exposure: 0, light: 1,
  azimuth: 0, elevation: 40, background: 1, resolution: "auto",
};

/** A value that the state may hold for a name, or undefined. */
function allowed(name, value) {
  if (name in RANGES) {
    const number = Number(value);
    if (value === "" || !Number.isFinite(number)) return undefined;
    const limited = Math.min(Math.max(number, RANGES[name][0]), RANGES[name][1]);
    return WHOLE.has(name) ? Math.round(limited) : limited;
  }
  if (!(name in LIMITS)) return undefined;
  return LIMITS[name] === null || LIMITS[name].includes(value) ? String(value) : undefined;
}

export class State {
  constructor() {
    this.values = { ...DEFAULTS };
    this.listeners = new Set();
    this.read();
  }

  /** Take what stands in the address after #. */
  read() {
    for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
      const taken = allowed(name, value);
      if (taken !== undefined) this.values[name] = taken;
    }
  }

  set(changes) {
    const changed = new Set();
    for (const [name, value] of Object.entries(changes)) {
      const taken = allowed(name, value);
      if (taken !== undefined && taken !== this.values[name]) {
        this.values[name] = taken;
        changed.add(name);
      }
    }
    if (!changed.size) return;
    this.write();
    for (const listener of this.listeners) listener(changed);
  }

  write() {
    const different = Object.entries(this.values).filter(([name, value]) => value !== DEFAULTS[name]);
    clearTimeout(this.writing);
    // Browsers refuse addresses that change too often.
    this.writing = setTimeout(() => history.replaceState(null, "", different.length ? `#${new URLSearchParams(different)}` : location.pathname + location.search), 200);
  }

  onChange(listener) {
    this.listeners.add(listener);
  }
}
