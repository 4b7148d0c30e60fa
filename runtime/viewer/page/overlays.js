// What lies over the picture, by WebGPU or in images: the divider, and what is shown on either side of it.

import { bindArrows, bindDrag } from "./input.js";

export class Overlays {
  constructor(byId, state, materials) {
    Object.assign(this, { byId, state, materials });
    const move = (share) => state.set({ split: Math.min(Math.max(share, 0), 1) });
    bindDrag(byId("divider"), byId("stage"), (x) => move(x));
    bindArrows(byId("divider"), (dx) => move(state.values.split + 0.02 * dx));
  }

  /** The name of a source, and of its run where there are several. */
  name(run, id) {
    const { sources, label } = this.materials[run];
    const source = sources.find((each) => each.id === id)?.label ?? id;
    return this.materials.length > 1 ? `${source} · ${label}` : source;
  }

  update() {
    const { values } = this.state;
    const isSplit = values.view === "split";
    const divider = this.byId("divider");
    divider.hidden = !isSplit;
    divider.style.left = `${100 * values.split}%`;
    divider.setAttribute("aria-valuenow", String(Math.round(100 * values.split)));
    const left = this.name(values.material, values.source);
    this.byId("labels").hidden = false;
    this.byId("label-left").textContent = values.view === "error" ? `Error of ${left}` : left;
    this.byId("label-right").hidden = !isSplit;
    this.byId("label-right").textContent = this.name(values.materialB, values.sourceB);
  }
}
