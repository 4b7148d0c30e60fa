// Cameras: an orbit around the mesh, and for the flat view a sheet that is moved and scaled in whole pixels.

/** Column-major 4 x 4 product a * b. */
export function multiply(a, b) {
  const result = new Float32Array(16);
  for (let column = 0; column < 4; column++) {
    for (let row = 0; row < 4; row++) {
      let sum = 0;
      for (let k = 0; k < 4; k++) sum += a[k * 4 + row] * b[column * 4 + k];
      result[column * 4 + row] = sum;
    }
  }
  return result;
}

export function transform(matrix, point) {
  const result = [0, 1, 2, 3].map((row) => matrix[row] * point[0] + matrix[4 + row] * point[1] + matrix[8 + row] * point[2] + matrix[12 + row]);
  return result.slice(0, 3).map((each) => each / result[3]);
}

function perspective(fovY, aspect, near, far) {
  const f = 1 / Math.tan(fovY / 2);
  return new Float32Array([f / aspect, 0, 0, 0, 0, f, 0, 0, 0, 0, far / (near - far), -1, 0, 0, (near * far) / (near - far), 0]);
}

function inversePerspective(fovY, aspect, near, far) {
  const f = 1 / Math.tan(fovY / 2);
  const a = far / (near - far);
  const b = (near * far) / (near - far);
  return new Float32Array([aspect / f, 0, 0, 0, 0, 1 / f, 0, 0, 0, 0, 0, 1 / b, 0, 0, -1, a / b]);
}

const FOV = (32 * Math.PI) / 180;
const NEAR = 0.05;
const FAR = 60;

export class OrbitCamera {
  constructor() {
    this.reset();
  }

  reset() {
    this.yaw = 0.5;
    this.pitch = 0.25;
    this.distance = 4.6;
    this.target = [0, 0, 0];
  }

  axes() {
    const [cy, sy, cp, sp] = [Math.cos(this.yaw), Math.sin(this.yaw), Math.cos(this.pitch), Math.sin(this.pitch)];
    return { right: [cy, 0, -sy], up: [-sy * sp, cp, -cy * sp], back: [sy * cp, sp, cy * cp] };
  }

  rotate(dx, dy) {
    this.yaw -= dx * 0.008;
    this.pitch = Math.min(Math.max(this.pitch + dy * 0.008, -1.5), 1.5);
  }

  zoom(factor) {
    this.distance = Math.min(Math.max(this.distance * factor, 0.5), 20);
  }

  pan(dx, dy, height) {
    const { right, up } = this.axes();
    const scale = (2 * this.distance * Math.tan(FOV / 2)) / height;
    this.target = this.target.map((each, k) => Math.min(Math.max(each - scale * (dx * right[k] - dy * up[k]), -2), 2));
  }

  /** {viewProjection, inverse, eye}; `jitter` in pixels moves the picture for antialiasing. */
  matrices(width, height, jitter) {
    // A narrow picture is fitted by its width.
    const aspect = width / height;
    const distance = this.distance * Math.max(1, 1 / aspect);
    const { right, up, back } = this.axes();
    const eye = this.target.map((each, k) => each + distance * back[k]);
    const dot = (axis) => -(axis[0] * eye[0] + axis[1] * eye[1] + axis[2] * eye[2]);
    const view = new Float32Array([
      right[0], up[0], back[0], 0, right[1], up[1], back[1], 0, right[2], up[2], back[2], 0, dot(right), dot(up), dot(back), 1,
    ]);
    const inverseView = new Float32Array([...right, 0, ...up, 0, ...back, 0, ...eye, 1]);
    const projection = perspective(FOV, aspect, NEAR, FAR);
    projection[8] = (-2 * jitter[0]) / width;
    projection[9] = (2 * jitter[1]) / height;
    return {
      viewProjection: multiply(projection, view),
      inverse: multiply(inverseView, inversePerspective(FOV, aspect, NEAR, FAR)),
      eye,
    };
  }
}

export class FlatCamera {
  constructor() {
    this.reset();
  }

  reset() {
    /** Screen pixels of a texel of mip 0; null: the texture fits the picture. */
    this.texelPixels = null;
    this.offset = [0, 0];
  }

  fitted(width, height, sheet) {
    return Math.min(width / sheet[0], height / sheet[1]) * 0.92;
  }

  zoom(factor, width, height, sheet) {
    const now = this.texelPixels ?? this.fitted(width, height, sheet);
    const next = Math.min(Math.max(now / factor, 0.02), 64);
    this.offset = this.offset.map((each) => (each * next) / now);
    this.texelPixels = next;
  }

  pan(dx, dy) {
    this.offset = [this.offset[0] + dx, this.offset[1] + dy];
  }

  /** `sheet`: texels of mip 0 across and down, all tiles. The mesh goes from -1 to 1 across, -aspect to aspect down. */
  matrices(width, height, sheet) {
    const pixels = this.texelPixels ?? this.fitted(width, height, sheet);
    const size = [sheet[0] * pixels, sheet[1] * pixels];
    // Whole pixels, so that at full size a pixel is a texel.
    const left = Math.round((width - size[0]) / 2 + this.offset[0]);
    const top = Math.round((height - size[1]) / 2 + this.offset[1]);
    const aspect = sheet[1] / sheet[0];
    const sx = size[0] / width;
    const sy = size[1] / height / aspect;
    const x = (2 * left) / width - 1 + sx;
    const y = 1 - (2 * top) / height - sy * aspect;
    const matrix = new Float32Array([sx, 0, 0, 0, 0, sy, 0, 0, 0, 0, 0, 0, x, y, 0.5, 1]);
    return { viewProjection: matrix, inverse: matrix, eye: [0, 0, 10] };
  }
}
