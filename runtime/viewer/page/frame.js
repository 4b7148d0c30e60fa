// From the state and the cameras to the values that one frame's shaders read.

import { MAPS } from "./state.js";

const STILL_SAMPLES = { stochastic: 64, smooth: 16, nearest: 16 };
const LIGHT_DISTANCE = 1.9;

export function lightPosition(values) {
  const [a, e] = [values.azimuth, values.elevation].map((each) => (each * Math.PI) / 180);
  return [LIGHT_DISTANCE * Math.cos(e) * Math.sin(a), LIGHT_DISTANCE * Math.sin(e), LIGHT_DISTANCE * Math.cos(e) * Math.cos(a)];
}

/** A low-discrepancy offset inside the pixel. */
function jitter(number) {
  return number ? [((number * 0.7548777) % 1) - 0.5, ((number * 0.5698403) % 1) - 0.5] : [0, 0];
}

export function cameraMatrices(values, cameras, material, size, canvas, number = 0) {
  if (values.mesh !== "flat") return cameras.orbit.matrices(size[0], size[1], jitter(number));
  // The flat view is laid out in the canvas's own pixels.
  const tiles = material.wrap ? values.tiling : 1;
  return cameras.flat.matrices(canvas.width, canvas.height, [material.width * tiles, material.height * tiles]);
}

/** What `Renderer` draws from. */
export function describeFrame({ values, cameras, material, canvas, background }) {
  const isFlat = values.mesh === "flat";
  const isPlain = values.map !== "lit" || values.view === "error";
  // A flat picture of exact texels is complete at once.
  const samples = isFlat && values.sampling !== "stochastic" ? 1 : STILL_SAMPLES[values.sampling];
  return {
    mesh: values.mesh,
    environment: values.environment,
    resolution: values.resolution,
    exposure: 2 ** values.exposure,
    isPlain,
    samples,
    background: values.background && !isPlain && !isFlat ? background : null,
    frame(size, number) {
      const { viewProjection, inverse, eye } = cameraMatrices(values, cameras, material, size, canvas, number);
      const data = new ArrayBuffer(224);
      const floats = new Float32Array(data);
      floats.set(viewProjection, 0);
      floats.set(inverse, 16);
      floats.set([...eye, 1], 32);
      floats.set([...lightPosition(values), 1], 36);
      floats.set([9 * values.light, 8.7 * values.light, 8.2 * values.light, 1], 40);
      const tiles = material.wrap ? values.tiling : 1;
      floats.set([tiles, isFlat ? 0 : values.parallax, (values.rotation * Math.PI) / 180, values.amplify], 44);
      floats.set([size[0], size[1], values.brightness, 0.5], 48);
      const isFitted = isFlat || values.mesh === "plane" ? 1 : 0;
      new Int32Array(data, 208, 4).set([MAPS.indexOf(values.map), Math.min(values.mip, material.stored_mips - 1), number, isFitted]);
      return data;
    },
  };
}
