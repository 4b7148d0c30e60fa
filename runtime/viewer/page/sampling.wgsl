// Where a pixel reads: its footprint in texture space, noise, and the texel that one decode is spent on.

struct Frame {
    view_projection: mat4x4f,
    inverse_view_projection: mat4x4f,
    eye: vec4f,
    light_position: vec4f,
    light_colour: vec4f,
    // tiling, parallax depth in tiles, rotation of the environment in radians, amplification of errors
    surface: vec4f,
    // width and height of the picture in pixels, brightness of the environment, brightness of the background
    picture: vec4f,
    // map that is shown (0: lit), mip or -1, number of the sample, 1 where the surface takes the texture's aspect
    choice: vec4i,
}

@group(0) @binding(0) var<uniform> frame: Frame;
@group(0) @binding(1) var smooth_sampler: sampler;
@group(0) @binding(2) var environment_specular: texture_cube<f32>;
@group(0) @binding(3) var environment_irradiance: texture_cube<f32>;

struct Material {
    diffuse: vec3f,      // linear light
    normal: vec3f,       // as stored, 0 to 1
    roughness: f32,
    occlusion: f32,
    metallic: f32,
    specular: f32,
    displacement: f32,
}

struct Footprint {
    ddx: vec2f,
    ddy: vec2f,
    lod: f32,
    is_fixed: bool,
}

struct Texel {
    place: vec2i,
    mip: i32,
}

const PI = 3.14159265359;
const MOST_ANISOTROPY = 8.0;

// M. Jarzynski, M. Olano, "Hash Functions for GPU Rendering", JCGT 9(3), 2020: pcg4d.
fn hash(seed: vec4u) -> vec4f {
    var v = seed * 1664525u + 1013904223u;
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    v ^= v >> vec4u(16u);
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    return vec4f(v >> vec4u(8u)) / 16777216.0;
}

// Four values a pixel: a hash in space, and in time the R4 sequence, whose averages settle faster than noise does.
fn pixel_noise(pixel: vec2f) -> vec4f {
    let steps = vec4f(0.8566749, 0.7338919, 0.6287067, 0.5385973);
    let start = hash(vec4u(vec2u(pixel), 1u, 7u));
    return fract(start + steps * f32(frame.choice.z % 4096));
}

fn mip_extent(mip: i32) -> vec2f {
    return max(floor(SIZE / exp2(f32(mip))), vec2f(1.0));
}

fn footprint_of(ddx: vec2f, ddy: vec2f) -> Footprint {
    let longest = max(length(ddx * SIZE), length(ddy * SIZE));
    let fixed_mip = frame.choice.y >= 0;
    let lod = select(log2(max(longest, 1e-8)), f32(frame.choice.y), fixed_mip);
    return Footprint(ddx, ddy, clamp(lod, 0.0, f32(MIPS - 1)), fixed_mip);
}

fn nearest_texel(uv: vec2f, footprint: Footprint) -> Texel {
    let mip = i32(round(footprint.lod));
    return Texel(vec2i(floor(uv * mip_extent(mip))), mip);
}

// One texel whose mean over the noise is the bilinear, mip-mapped and anisotropic filter: `noise` picks the place along
// the longer axis of the footprint, the mip, and the texel by its bilinear weight.
fn stochastic_texel(uv: vec2f, footprint: Footprint, noise: vec4f) -> Texel {
    var place = uv;
    var mip = i32(footprint.lod);
    if !footprint.is_fixed {
        let along_x = length(footprint.ddx * SIZE);
        let along_y = length(footprint.ddy * SIZE);
        let longer = max(along_x, along_y);
        let ratio = clamp(longer / max(min(along_x, along_y), 1e-8), 1.0, MOST_ANISOTROPY);
        let axis = select(footprint.ddy, footprint.ddx, along_x >= along_y);
        place += axis * (noise.x - 0.5) * (1.0 - 1.0 / ratio);
        let lod = clamp(log2(max(longer / ratio, 1e-8)), 0.0, f32(MIPS - 1));
        mip = min(i32(lod + noise.y), MIPS - 1);
    }
    return Texel(vec2i(floor(place * mip_extent(mip) - 0.5 + noise.zw)), mip);
}

fn srgb_from_linear(colour: vec3f) -> vec3f {
    let light = clamp(colour, vec3f(0.0), vec3f(1.0));
    return select(1.055 * pow(light, vec3f(1.0 / 2.4)) - 0.055, light * 12.92, light <= vec3f(0.0031308));
}

fn linear_from_srgb(coded: vec3f) -> vec3f {
    return select(pow((coded + 0.055) / 1.055, vec3f(2.4)), coded / 12.92, coded <= vec3f(0.04045));
}
