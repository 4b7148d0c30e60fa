// A material in images: the maps of up to three channels each. NAME and GROUP are filled in by pipelines.js.

@group(GROUP) @binding(0) var NAME_diffuse: texture_2d<f32>;
@group(GROUP) @binding(1) var NAME_normal: texture_2d<f32>;
@group(GROUP) @binding(2) var NAME_surface: texture_2d<f32>;
@group(GROUP) @binding(3) var NAME_relief: texture_2d<f32>;
@group(GROUP) @binding(4) var NAME_sampler: sampler;

fn NAME_material(diffuse: vec4f, normal: vec4f, surface: vec4f, relief: vec4f) -> Material {
    return Material(diffuse.rgb, normal.rgb, surface.r, surface.g, surface.b, relief.r, relief.g);
}

// A map that is missing is a single texel.
fn NAME_texel(image: texture_2d<f32>, place: vec2i, mip: i32) -> vec4f {
    let level = min(mip, i32(textureNumLevels(image)) - 1);
    let size = vec2i(textureDimensions(image, level));
    let inside = select(clamp(place, vec2i(0), size - 1), ((place % size) + size) % size, WRAP);
    return textureLoad(image, inside, level);
}

fn NAME_fetch(texel: Texel) -> Material {
    return NAME_material(
        NAME_texel(NAME_diffuse, texel.place, texel.mip),
        NAME_texel(NAME_normal, texel.place, texel.mip),
        NAME_texel(NAME_surface, texel.place, texel.mip),
        NAME_texel(NAME_relief, texel.place, texel.mip),
    );
}

fn NAME_smooth(uv: vec2f, footprint: Footprint) -> Material {
    if footprint.is_fixed {
        let lod = footprint.lod;
        return NAME_material(
            textureSampleLevel(NAME_diffuse, NAME_sampler, uv, lod),
            textureSampleLevel(NAME_normal, NAME_sampler, uv, lod),
            textureSampleLevel(NAME_surface, NAME_sampler, uv, lod),
            textureSampleLevel(NAME_relief, NAME_sampler, uv, lod),
        );
    }
    let ddx = footprint.ddx;
    let ddy = footprint.ddy;
    return NAME_material(
        textureSampleGrad(NAME_diffuse, NAME_sampler, uv, ddx, ddy),
        textureSampleGrad(NAME_normal, NAME_sampler, uv, ddx, ddy),
        textureSampleGrad(NAME_surface, NAME_sampler, uv, ddx, ddy),
        textureSampleGrad(NAME_relief, NAME_sampler, uv, ddx, ddy),
    );
}
