// What is drawn on which side: sources that are loaded and shaders that are compiled when the choice asks for them.

import { loadImages } from "./images.js";
import { loadNeural } from "./neural.js";

export class Scene {
  constructor(device, pipelines, materials, state, imagesLayout) {
    Object.assign(this, { device, pipelines, materials, state, imagesLayout });
    this.loaded = new Map();
    this.turn = 0;
    this.onStatus = () => {};
  }

  source(material, id) {
    const key = `${material.folder}/${id}`;
    if (!this.loaded.has(key)) {
      const entry = material.sources.find((each) => each.id === id);
      const make = async () => {
        if (!entry || entry.missing) throw new Error(`${entry?.label ?? id}: ${entry?.missing || "there is no such source"}`);
        return id === "neural"
          ? loadNeural(this.device, material.folder, material)
          : loadImages(this.device, this.imagesLayout, material.folder, id, material);
      };
      const promise = make();
      promise.catch(() => this.loaded.delete(key));
      this.loaded.set(key, promise);
    }
    return this.loaded.get(key);
  }

  label(material, id) {
    return material.sources.find((each) => each.id === id)?.label ?? id;
  }

  /** Whether parallax is seen now; heights are decoded the first time it is. */
  needsRelief() {
    const { mesh, parallax } = this.state.values;
    return mesh !== "flat" && parallax > 0;
  }

  /** `tell(title, text)` is called with what is waited for. */
  async side(material, id, referenceId, tell) {
    const key = `${material.folder}/${id}`;
    tell(`Loading ${this.label(material, id)}`, id === "bc7" || id === "astc" ? "Encoding takes some seconds the first time." : "");
    const source = await this.source(material, id);
    const reference = referenceId ? await this.source(material, referenceId) : null;
    tell(`Compiling ${this.label(material, id)}`, "");
    const { sampling } = this.state.values;
    const [pipeline, heights] = await Promise.all([
      this.pipelines.surface(key, material, source, sampling, reference),
      this.pipelines.heights(key, material, source, this.needsRelief()),
    ]);
    return { material, id, source, pipeline, groups: [source.group, reference ? reference.group : this.pipelines.empty, heights] };
  }

  /** Prepare the sides of the present choice; null where another choice was made meanwhile. Throws what went wrong. */
  async prepare() {
    const turn = ++this.turn;
    const isPresent = () => turn === this.turn;
    const tell = (title, text) => isPresent() && this.onStatus(title, text);
    this.hasRelief = this.needsRelief();
    try {
      const sides = await this.sides(tell);
      const background = await this.pipelines.background();
      tell("", "");
      return isPresent() ? { sides, background } : null;
    } catch (error) {
      if (isPresent()) throw error;
      return null;
    }
  }

  async sides(tell) {
    const { values } = this.state;
    const left = this.materials[values.material];
    const right = this.materials[values.materialB];
    if (values.view !== "split") {
      const reference = values.view === "error" ? "original" : null;
      return [{ ...(await this.side(left, values.source, reference, tell)), from: () => 0, to: () => 1 }];
    }
    const middle = () => this.state.values.split;
    return [
      { ...(await this.side(left, values.source, null, tell)), from: () => 0, to: middle },
      { ...(await this.side(right, values.sourceB, null, tell)), from: middle, to: () => 1 },
    ];
  }
}
