// Bakes a source's displacement into a small texture, one level a pass. `A_fetch` comes from pipelines.js.

struct Bake {
    mip: vec4i,
}

@group(3) @binding(0) var<uniform> bake: Bake;

@vertex fn bake_vertex(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
    return vec4f(f32(index & 1u) * 4.0 - 1.0, f32(index >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

@fragment fn bake_fragment(@builtin(position) pixel: vec4f) -> @location(0) vec4f {
    return vec4f(A_fetch(Texel(vec2i(pixel.xy), bake.mip.x)).displacement, 0.0, 0.0, 1.0);
}
