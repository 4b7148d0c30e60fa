// What a frame's shaders share: cameras, light, what was chosen, and the environment.

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

// A direction in the environment, which turns about the vertical axis.
fn turned(direction: vec3f) -> vec3f {
    let s = sin(frame.surface.z);
    let c = cos(frame.surface.z);
    return vec3f(c * direction.x + s * direction.z, direction.y, c * direction.z - s * direction.x);
}
