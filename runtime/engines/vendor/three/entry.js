export * from "./node_modules/three/build/three.webgpu.js";
export { OrbitControls } from "./node_modules/three/examples/jsm/controls/OrbitControls.js";
