// The environment behind the mesh, out of focus.

@vertex fn vertex(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
    return vec4f(f32(index & 1u) * 4.0 - 1.0, f32(index >> 1u) * 4.0 - 1.0, 1.0, 1.0);
}

@fragment fn fragment(@builtin(position) pixel: vec4f) -> @location(0) vec4f {
    let place = pixel.xy / frame.picture.xy * vec2f(2.0, -2.0) + vec2f(-1.0, 1.0);
    let far = frame.inverse_view_projection * vec4f(place, 1.0, 1.0);
    let direction = normalize(far.xyz / far.w - frame.eye.xyz);
    let light = textureSampleLevel(environment_specular, smooth_sampler, turned(direction), 3.2).rgb;
    return vec4f(light * frame.picture.z * frame.picture.w, 1.0);
}
