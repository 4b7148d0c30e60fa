// Where a pixel reads: its footprint in texture space, noise, and the texel that one decode is spent on.

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

// As in the decoder and in the filter of images.
const MOST_ANISOTROPY = 16.0;

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

// That of a pixel on the surface, or of a texel of the mip that was chosen.
fn footprint_of(ddx: vec2f, ddy: vec2f) -> Footprint {
    if frame.choice.y >= 0 {
        let mip = f32(min(frame.choice.y, MIPS - 1));
        let texel = exp2(mip) / SIZE;
        return Footprint(vec2f(texel.x, 0.0), vec2f(0.0, texel.y), mip, true);
    }
    let longest = max(length(ddx * SIZE), length(ddy * SIZE));
    return Footprint(ddx, ddy, clamp(log2(max(longest, 1e-8)), 0.0, f32(MIPS - 1)), false);
}

fn nearest_texel(uv: vec2f, footprint: Footprint) -> Texel {
    let mip = i32(round(footprint.lod));
    return Texel(vec2i(floor(uv * mip_extent(mip))), mip);
}

// The texel that NeuralTexture_SampleStochastic draws: an error map reads it from both sides, images too.
fn stochastic_texel(uv: vec2f, footprint: Footprint, noise: vec4f) -> Texel {
    let along_x = length(footprint.ddx * SIZE);
    let along_y = length(footprint.ddy * SIZE);
    let longest = max(along_x, along_y);
    let shortest = max(min(along_x, along_y), longest / MOST_ANISOTROPY);
    let mip = clamp(i32(floor(log2(max(shortest, 1e-8)) + noise.z)), 0, MIPS - 1);
    let axis = select(footprint.ddy, footprint.ddx, along_x >= along_y);
    let place = uv + axis * (noise.w - 0.5) * (1.0 - shortest / max(longest, 1e-8));
    return Texel(vec2i(floor(place * mip_extent(mip) - 0.5 + noise.xy)), mip);
}
