// The panel: every control is a row with a name, a tip and the state's value; rows that mean nothing now are hidden.

import { MAPS } from "./state.js";

const TITLES = {
  lit: "Lit", diffuse: "Diffuse", normal: "Normal", roughness: "Roughness", occlusion: "Occlusion", metallic: "Metallic", specular: "Specular",
  displacement: "Displacement", sphere: "Sphere", plane: "Plane", cube: "Cube", cloth: "Cloth", flat: "Flat", single: "Single", split: "Split", error: "Error",
  stochastic: "Stochastic, 1 decode", smooth: "Trilinear, 2 decodes", nearest: "Nearest texel, 1 decode", studio: "Studio", daylight: "Daylight", sunset: "Sunset", overcast: "Overcast",
};

export function element(tag, properties = {}, ...children) {
  const { dataset, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, dataset ?? {});
  made.append(...children);
  return made;
}

const named = (names) => names.map((value) => ({ value, label: TITLES[value] ?? value }));

export class Panel {
  /** `limited`: the page without WebGPU, which shows images alone. */
  constructor(root, state, materials, { limited = false } = {}) {
    Object.assign(this, { root, state, materials });
    this.rows = [];
    const several = materials.length > 1;
    const lit = (values) => values.map === "lit" && values.view !== "error";
    const solid = (values) => values.mesh !== "flat";
    this.section("Compare");
    this.segments("view", "Show", named(limited ? ["single", "split"] : ["single", "split", "error"]), "One source, two beside each other with a divider to drag, or the error against the original images");
    this.select("material", several ? "Run, left" : "Run", () => this.runs(), "The trained material", () => several);
    this.select("source", "Source", () => this.sources("material"), "What is shown: the neural texture, the images it was made from, or block-compressed textures made from them");
    this.select("materialB", "Run, right", () => this.runs(), "The trained material to the right of the divider", (v) => several && v.view === "split");
    this.select("sourceB", "Right source", () => this.sources("materialB"), "What is shown to the right of the divider", (v) => v.view === "split");
    this.range("amplify", "Amplify", 1, 64, 1, (v) => `${v}×`, "Factor on the absolute difference to the original, in the files' own coding", (v) => v.view === "error");
    this.section("Surface");
    if (!limited) this.segments("mesh", "Mesh", named(["sphere", "plane", "cube", "cloth", "flat"]), "Flat shows the texture itself: drag to move, 1 for one pixel a texel, 0 to fit");
    this.select("map", "Map", () => this.maps(limited), "The shaded material, or one of its maps as it is stored");
    this.select("mip", "Mip", () => this.mips(limited), "The mip that is read; automatic: by the size of a pixel on the surface");
    if (!limited) {
      this.select("sampling", "Sampling", () => named(["stochastic", "smooth", "nearest"]), "Stochastic decodes one texel a pixel, picked by noise so that the mean is the filtered texture; samples add up while nothing moves. Images are filtered by the GPU.");
      this.range("tiling", "Tiling", 1, 8, 1, (v) => `${v}×`, "How often the texture repeats across the mesh", () => this.left().wrap);
      this.range("parallax", "Relief", 0, 0.2, 0.005, (v) => (v ? `${(100 * v).toFixed(1)} %` : "off"), "Depth of the displacement map as parallax, in percent of a tile. Heights are decoded once into a small texture.", (v) => solid(v) && this.has("displacement"));
      root.append(document.getElementById("figures-section"));
      this.section("Light", lit);
      this.select("environment", "Environment", () => named(["studio", "daylight", "sunset", "overcast"]), "Procedural image-based light", lit);
      this.range("rotation", "Rotation", 0, 360, 1, (v) => `${v}°`, "Turns the environment", lit);
      this.range("brightness", "Ambient", 0, 3, 0.05, (v) => v.toFixed(2), "Brightness of the environment", lit);
      this.range("light", "Point light", 0, 4, 0.05, (v) => (v ? v.toFixed(2) : "off"), "Brightness of the point light; drag the lamp in the picture to move it", lit);
      this.range("azimuth", "Light around", -180, 180, 1, (v) => `${v}°`, "Direction of the point light around the mesh", (v) => lit(v) && v.light > 0);
      this.range("elevation", "Light height", -85, 85, 1, (v) => `${v}°`, "Height of the point light", (v) => lit(v) && v.light > 0);
      this.range("exposure", "Exposure", -4, 4, 0.1, (v) => `${v > 0 ? "+" : ""}${v.toFixed(1)} EV`, "Exposure of the picture", lit);
      this.toggle("background", "Background", "Show the environment behind the mesh", (v) => lit(v) && solid(v));
      this.section("Speed");
      this.select("resolution", "Resolution", () => [{ value: "auto", label: "Automatic" }, ...["1", "0.75", "0.5", "0.25"].map((value) => ({ value, label: `${100 * value} %` }))], "Automatic draws fewer pixels while the picture moves, where a frame would take over 33 ms");
    }
    state.onChange(() => this.update());
    this.update();
  }

  left() {
    return this.materials[this.state.values.material];
  }

  has(map) {
    return this.left().channels.some((channel) => channel.name === map && channel.present);
  }

  runs() {
    return this.materials.map((material, value) => ({ value, label: material.label }));
  }

  sources(name) {
    return this.materials[this.state.values[name]].sources.map(({ id, label, missing }) => ({ value: id, label, missing }));
  }

  maps(limited) {
    return MAPS.filter((map) => !(limited && map === "lit")).map((map) => {
      const missing = map === "lit" || this.has(map) ? "" : "this material has no such map";
      return { value: map, label: TITLES[map], missing };
    });
  }

  mips(limited) {
    const { width, height, stored_mips: count } = this.left();
    const mips = Array.from({ length: count }, (_, mip) => ({ value: mip, label: `${mip}  (${Math.max(width >> mip, 1)} × ${Math.max(height >> mip, 1)})` }));
    return limited ? mips : [{ value: -1, label: "Automatic" }, ...mips];
  }

  section(title, visible = () => true) {
    this.group = element("section", {}, element("h2", { textContent: title }));
    this.root.append(this.group);
    const group = this.group;
    this.rows.push(() => (group.hidden = !visible(this.state.values)));
  }

  row(name, label, tip, control, visible, update) {
    const row = element("div", { className: "row", title: tip, dataset: { control: name } }, label, control);
    this.group.append(row);
    this.rows.push((values) => {
      row.hidden = !visible(values);
      if (!row.hidden) update(values);
    });
  }

  label(name, text) {
    return element("label", { htmlFor: `control-${name}`, textContent: text });
  }

  select(name, text, options, tip, visible = () => true) {
    const control = element("select", { id: `control-${name}`, name });
    control.addEventListener("change", () => this.state.set({ [name]: control.value }));
    let shown = "";
    this.row(name, this.label(name, text), tip, control, visible, (values) => {
      const list = options();
      const signature = JSON.stringify(list);
      if (signature !== shown) {
        shown = signature;
        control.replaceChildren(...list.map(({ value, label, missing }) => element("option", { value, textContent: label, disabled: Boolean(missing), title: missing ?? "" })));
      }
      control.value = values[name];
      const missing = list.filter((each) => each.missing).map((each) => `${each.label}: ${each.missing}`);
      control.title = [tip, ...missing].join("\n");
    });
  }

  range(name, text, min, max, step, show, tip, visible = () => true) {
    const control = element("input", { type: "range", id: `control-${name}`, name, min, max, step });
    const value = element("output", { htmlFor: control.id });
    control.addEventListener("input", () => this.state.set({ [name]: control.value }));
    this.row(name, this.label(name, text), tip, element("span", { className: "range" }, control, value), visible, (values) => {
      control.value = values[name];
      value.textContent = show(values[name]);
      control.setAttribute("aria-valuetext", value.textContent);
    });
  }

  segments(name, text, options, tip) {
    const box = element("span", { className: "segments" });
    box.setAttribute("role", "radiogroup");
    box.setAttribute("aria-label", text);
    const inputs = options.map(({ value, label }) => {
      const input = element("input", { type: "radio", name, value, id: `control-${name}-${value}` });
      input.addEventListener("change", () => this.state.set({ [name]: value }));
      box.append(element("label", { htmlFor: input.id, textContent: label }));
      box.lastChild.prepend(input);
      return input;
    });
    this.row(name, element("span", { className: "name", textContent: text }), tip, box, () => true, (values) => {
      for (const input of inputs) input.checked = input.value === values[name];
    });
  }

  toggle(name, text, tip, visible) {
    const control = element("input", { type: "checkbox", id: `control-${name}`, name });
    control.addEventListener("change", () => this.state.set({ [name]: Number(control.checked) }));
    this.row(name, this.label(name, text), tip, control, visible, (values) => (control.checked = values[name] === 1));
  }

  update() {
    for (const row of this.rows) row(this.state.values);
  }
}
