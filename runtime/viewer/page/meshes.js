// Meshes: positions, normals, tangents (along u) and uv in tiles, v downwards; 11 floats a vertex.

export const VERTEX_FLOATS = 11;

function grid(columns, rows, vertexAt) {
  const vertices = new Float32Array((columns + 1) * (rows + 1) * VERTEX_FLOATS);
  const indices = new Uint32Array(columns * rows * 6);
  let v = 0;
  for (let y = 0; y <= rows; y++) {
    for (let x = 0; x <= columns; x++) {
      vertices.set(vertexAt(x / columns, y / rows), v);
      v += VERTEX_FLOATS;
    }
  }
  let i = 0;
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const a = y * (columns + 1) + x;
      const c = a + columns + 1;
      indices.set([a, c, a + 1, a + 1, c, c + 1], i);
      i += 6;
    }
  }
  return { vertices, indices };
}

function joined(parts) {
  const vertices = new Float32Array(parts.reduce((sum, part) => sum + part.vertices.length, 0));
  const indices = new Uint32Array(parts.reduce((sum, part) => sum + part.indices.length, 0));
  let v = 0;
  let i = 0;
  for (const part of parts) {
    indices.set(part.indices.map((index) => index + v / VERTEX_FLOATS), i);
    vertices.set(part.vertices, v);
    v += part.vertices.length;
    i += part.indices.length;
  }
  return { vertices, indices };
}

function plane() {
  return grid(1, 1, (u, v) => [2 * u - 1, 1 - 2 * v, 0, 0, 0, 1, 1, 0, 0, u, v]);
}

/** Two tiles around, one from pole to pole, so that tiles are nearly square at the equator. */
function sphere() {
  return grid(128, 64, (u, v) => {
    const phi = 2 * Math.PI * (u - 0.5);
    const theta = Math.PI * v;
    const normal = [Math.sin(theta) * Math.sin(phi), Math.cos(theta), Math.sin(theta) * Math.cos(phi)];
    return [...normal, ...normal, Math.cos(phi), 0, -Math.sin(phi), 2 * u, v];
  });
}

function cube() {
  const half = 0.75;
  const faces = [
    { n: [0, 0, 1], t: [1, 0, 0] },
    { n: [0, 0, -1], t: [-1, 0, 0] },
    { n: [1, 0, 0], t: [0, 0, -1] },
    { n: [-1, 0, 0], t: [0, 0, 1] },
    { n: [0, 1, 0], t: [1, 0, 0] },
    { n: [0, -1, 0], t: [1, 0, 0] },
  ];
  return joined(
    faces.map(({ n, t }) => {
      const up = cross(n, t);
      return grid(1, 1, (u, v) => {
        const position = n.map((each, k) => half * (each + (2 * u - 1) * t[k] + (1 - 2 * v) * up[k]));
        return [...position, ...n, ...t, u, v];
      });
    }),
  );
}

/** A hanging cloth: folds that deepen towards the hem. */
function cloth() {
  const place = (u, v) => {
    const fall = 0.35 + 0.65 * v;
    const x = (2 * u - 1) * 1.15 + 0.05 * fall * Math.sin(9 * u + 1.2);
    const folds = 0.17 * Math.sin(13 * u + 1.1 * Math.sin(2.2 * v + 0.4)) + 0.06 * Math.sin(29 * u + 2.3 * v) + 0.05 * Math.sin(5 * v + 4 * u);
    return [x, 1.05 - 2.1 * v + 0.03 * Math.sin(13 * u + 1.5), fall * folds];
  };
  const step = 1e-3;
  const difference = (a, b) => a.map((each, k) => each - b[k]);
  return grid(200, 140, (u, v) => {
    const along = normalized(difference(place(u + step, v), place(u - step, v)));
    const up = difference(place(u, v - step), place(u, v + step));
    return [...place(u, v), ...normalized(cross(along, up)), ...along, 1.1 * u, v];
  });
}

function cross(a, b) {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

function normalized(a) {
  const length = Math.hypot(...a);
  return a.map((each) => each / length);
}

const MAKERS = { sphere, plane, cube, cloth, flat: plane };

/** Meshes on the GPU by name, each made when it is first asked for. */
export class Meshes {
  constructor(device) {
    this.device = device;
    this.made = new Map();
  }

  get(name) {
    if (!this.made.has(name)) {
      const { vertices, indices } = MAKERS[name]();
      this.made.set(name, {
        vertices: this.upload(vertices, GPUBufferUsage.VERTEX),
        indices: this.upload(indices, GPUBufferUsage.INDEX),
        count: indices.length,
      });
    }
    return this.made.get(name);
  }

  upload(data, usage) {
    const buffer = this.device.createBuffer({ size: data.byteLength, usage: usage | GPUBufferUsage.COPY_DST });
    this.device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  }
}
