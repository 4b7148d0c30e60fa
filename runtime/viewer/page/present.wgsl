// From samples to the screen: the running mean of the samples, then exposure, tone curve and sRGB (colour.wgsl).

struct Presentation {
    // part of the textures that was drawn, exposure factor, weight of the newest sample
    size: vec2f,
    exposure: f32,
    weight: f32,
    // size of the canvas, 1 where values are shown as they are, 1 where a pixel is a texel of the picture
    canvas: vec2f,
    is_plain: f32,
    is_exact: f32,
}

@group(0) @binding(0) var<uniform> presentation: Presentation;
@group(0) @binding(1) var newest: texture_2d<f32>;
@group(0) @binding(2) var mean: texture_2d<f32>;
@group(0) @binding(3) var smooth_sampler: sampler;

@vertex fn vertex(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
    return vec4f(f32(index & 1u) * 4.0 - 1.0, f32(index >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

@fragment fn accumulate(@builtin(position) pixel: vec4f) -> @location(0) vec4f {
    let sample = textureLoad(newest, vec2i(pixel.xy), 0);
    if presentation.weight >= 1.0 {
        return sample;
    }
    return mix(textureLoad(mean, vec2i(pixel.xy), 0), sample, presentation.weight);
}

// Khronos PBR Neutral Tone Mapper (2024): colours below 0.8 keep their hue and saturation.
fn neutral(colour: vec3f) -> vec3f {
    let least = min(colour.r, min(colour.g, colour.b));
    let offset = select(0.04, least - 6.25 * least * least, least < 0.08);
    var shown = colour - offset;
    let peak = max(shown.r, max(shown.g, shown.b));
    let start = 0.8 - 0.04;
    if peak < start {
        return shown;
    }
    let room = 1.0 - start;
    let new_peak = 1.0 - room * room / (peak + room - start);
    shown *= new_peak / peak;
    let grey = 1.0 - 1.0 / (0.15 * (peak - new_peak) + 1.0);
    return mix(shown, vec3f(new_peak), grey);
}

@fragment fn show(@builtin(position) pixel: vec4f) -> @location(0) vec4f {
    var colour: vec3f;
    if presentation.is_exact == 1.0 {
        colour = textureLoad(mean, vec2i(pixel.xy), 0).rgb;
    } else {
        // Half a texel inside what was drawn, as the rest of the texture is of an older picture.
        let place = clamp(pixel.xy / presentation.canvas * presentation.size, vec2f(0.5), presentation.size - 0.5);
        colour = textureSampleLevel(mean, smooth_sampler, place / vec2f(textureDimensions(mean)), 0.0).rgb;
    }
    if presentation.is_plain == 1.0 {
        return vec4f(colour, 1.0);
    }
    return vec4f(srgb_from_linear(neutral(colour * presentation.exposure)), 1.0);
}
