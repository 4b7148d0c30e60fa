// Linear light to sRGB coding, as files and the screen have it.

fn srgb_from_linear(colour: vec3f) -> vec3f {
    let light = clamp(colour, vec3f(0.0), vec3f(1.0));
    return select(1.055 * pow(light, vec3f(1.0 / 2.4)) - 0.055, light * 12.92, light <= vec3f(0.0031308));
}
