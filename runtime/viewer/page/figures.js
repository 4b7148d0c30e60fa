// Figures of what is shown: rate, memory, quality of each map, cost.

import { element } from "./controls.js";

const number = (value, digits) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

function bytes(count) {
  return count < 1e6 ? `${number(count / 1e3, 0)} kB` : `${number(count / 1e6, 2)} MB`;
}

function decibels(list, mip) {
  if (!list || mip >= list.length) return "–";
  return list[mip] === null ? "identical" : number(list[mip], 2);
}

const fileBytes = (material) => (material.bpp_mips * material.width * material.height) / 8;

/** Figures of one side; `source` is what `loadNeural` or `loadImages` gave. */
function column(material, id, source, mip) {
  const images = source.figures;
  const psnr = id === "neural" || id === "baked" ? material.psnr : images.psnr;
  const memory = id === "neural" ? source.memoryBytes : images.memory_bytes;
  const rate = id === "neural" || id === "baked" ? material : images;
  const maps = ["overall", ...material.channels.filter((channel) => channel.present).map((channel) => channel.name)];
  return {
    "Bits per texel": number(rate.bpp, 2),
    "with mips": number(rate.bpp_mips, 2),
    "GPU memory": id === "baked" ? "–" : bytes(memory),
    "beside BC7": id === "baked" ? "–" : `${number((100 * memory) / material.bc7_bytes, 0)} %`,
    "Multiply-adds a texel": id === "neural" ? number(source.macs, 0) : "0",
    ...Object.fromEntries(maps.map((map) => [`PSNR ${map}`, id === "original" ? "–" : decibels(psnr?.[map], mip)])),
  };
}

/** `sides`: at least one {material, id, source}; `mip`: the mip whose quality is shown. */
export function showFigures(root, sides, mip) {
  const columns = sides.map(({ material, id, source }) => column(material, id, source, mip));
  const names = [...new Set(columns.flatMap(Object.keys))];
  const head = element("tr", {}, element("th", { textContent: "" }));
  for (const { material, id } of sides) {
    const label = material.sources.find((source) => source.id === id)?.label ?? id;
    head.append(element("th", { scope: "col", textContent: label, title: `${material.name} · ${material.run}` }));
  }
  const rows = names.map((name) => {
    const title = name.startsWith("PSNR") ? `${name.replace("PSNR ", "")}, dB` : name;
    const row = element("tr", {}, element("th", { scope: "row", textContent: title }));
    row.dataset.figure = name;
    row.append(...columns.map((each) => element("td", { textContent: each[name] ?? "–" })));
    return row;
  });
  const [{ material }] = sides;
  const encoders = sides.filter(({ source }) => source.figures?.encoder).map(({ source }) => `${source.figures.label} encoded by ${source.figures.encoder}.`);
  const memory = sides
    .filter(({ id }) => id === "neural")
    .map((side) => `${side.material.label} takes ${bytes(side.source.memoryBytes)} as the shader reads it, ${bytes(fileBytes(side.material))} as files.`);
  const notes = [`PSNR of mip ${mip} on 8-bit maps. BC7 of the same maps with mips: ${bytes(material.bc7_bytes)}.`, ...new Set([...memory, ...encoders])];
  root.replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)), element("p", { className: "note", textContent: notes.join(" ") }));
}
