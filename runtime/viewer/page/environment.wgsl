// Procedural lighting and its prefiltering: every texel of the cube maps integrates the environment over a GGX lobe, or
// over the cosine for irradiance.

struct Job {
    // face, environment, number of samples, 1 for irradiance
    choice: vec4u,
    // roughness
    lobe: vec4f,
}

@group(0) @binding(0) var<uniform> job: Job;

const PI = 3.14159265359;

// A rectangular lamp: `axis` points to its middle, `size` are tangents of its half angles.
fn lamp(direction: vec3f, axis: vec3f, size: vec2f, soft: f32) -> f32 {
    let forward = normalize(axis);
    let distance = dot(direction, forward);
    if distance <= 0.0 {
        return 0.0;
    }
    let right = normalize(cross(vec3f(0.0, 1.0, 0.0), forward));
    let up = cross(forward, right);
    let place = abs(vec2f(dot(direction, right), dot(direction, up)) / distance) - size;
    return (1.0 - smoothstep(-soft, soft, place.x)) * (1.0 - smoothstep(-soft, soft, place.y));
}

fn studio(d: vec3f) -> vec3f {
    var light = mix(vec3f(0.05, 0.052, 0.058), vec3f(0.22, 0.225, 0.24), smoothstep(-0.7, 0.9, d.y));
    light += vec3f(7.5, 7.2, 6.8) * lamp(d, vec3f(-0.9, 0.75, 0.8), vec2f(0.42, 0.42), 0.06);
    light += vec3f(2.2, 2.5, 3.0) * lamp(d, vec3f(1.1, 0.25, 0.25), vec2f(0.20, 0.75), 0.06);
    light += vec3f(3.0, 2.6, 2.2) * lamp(d, vec3f(0.35, 0.45, -1.0), vec2f(0.65, 0.16), 0.06);
    light += vec3f(1.4) * lamp(d, vec3f(0.02, 1.0, 0.05), vec2f(0.5, 0.5), 0.12);
    return light;
}

fn outdoors(d: vec3f, sun: vec3f, sun_colour: vec3f, zenith: vec3f, horizon: vec3f, ground: vec3f) -> vec3f {
    let towards = dot(d, normalize(sun));
    var sky = mix(horizon, zenith, pow(saturate(d.y), 0.55));
    sky += sun_colour * (0.05 * pow(saturate(towards), 8.0) + 0.35 * pow(saturate(towards), 64.0));
    sky += sun_colour * 22.0 * smoothstep(0.985, 0.995, towards);
    return mix(ground * (0.6 + 0.4 * saturate(-d.y)), sky, smoothstep(-0.04, 0.04, d.y));
}

fn environment(d: vec3f) -> vec3f {
    switch job.choice.y {
        case 0u: {
            return studio(d);
        }
        case 1u: {
            return outdoors(d, vec3f(-0.6, 0.75, 0.6), vec3f(1.7, 1.6, 1.4), vec3f(0.18, 0.36, 0.78),
                vec3f(0.78, 0.86, 0.95), vec3f(0.24, 0.22, 0.19));
        }
        case 2u: {
            return outdoors(d, vec3f(0.8, 0.22, 0.5), vec3f(2.2, 1.1, 0.5), vec3f(0.13, 0.17, 0.36),
                vec3f(0.95, 0.55, 0.34), vec3f(0.12, 0.10, 0.10));
        }
        default: {
            return mix(vec3f(0.22, 0.22, 0.23), vec3f(1.05, 1.06, 1.08), smoothstep(-0.35, 0.9, d.y));
        }
    }
}

fn face_direction(face: u32, place: vec2f) -> vec3f {
    let u = place.x;
    let v = place.y;
    switch face {
        case 0u: { return normalize(vec3f(1.0, -v, -u)); }
        case 1u: { return normalize(vec3f(-1.0, -v, u)); }
        case 2u: { return normalize(vec3f(u, 1.0, v)); }
        case 3u: { return normalize(vec3f(u, -1.0, -v)); }
        case 4u: { return normalize(vec3f(u, -v, 1.0)); }
        default: { return normalize(vec3f(-u, -v, -1.0)); }
    }
}

fn around(axis: vec3f, cosine: f32, angle: f32) -> vec3f {
    let helper = select(vec3f(0.0, 1.0, 0.0), vec3f(1.0, 0.0, 0.0), abs(axis.y) > 0.9);
    let right = normalize(cross(helper, axis));
    let sine = sqrt(max(1.0 - cosine * cosine, 0.0));
    return right * (sine * cos(angle)) + cross(axis, right) * (sine * sin(angle)) + axis * cosine;
}

@vertex fn vertex(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
    return vec4f(f32(index & 1u) * 4.0 - 1.0, f32(index >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

@fragment fn fragment(@builtin(position) pixel: vec4f) -> @location(0) vec4f {
    let axis = face_direction(job.choice.x, pixel.xy / job.lobe.y * 2.0 - 1.0);
    let count = job.choice.z;
    if count <= 1u {
        return vec4f(environment(axis), 1.0);
    }
    let alpha = job.lobe.x * job.lobe.x;
    var total = vec4f(0.0);
    for (var i = 0u; i < count; i++) {
        let share = (f32(i) + 0.5) / f32(count);
        let angle = 2.0 * PI * f32(reverseBits(i)) / 4294967296.0;
        if job.choice.w == 1u {
            total += vec4f(environment(around(axis, sqrt(1.0 - share), angle)), 1.0);
        } else {
            let half_vector = around(axis, sqrt((1.0 - share) / (1.0 + (alpha * alpha - 1.0) * share)), angle);
            let light = reflect(-axis, half_vector);
            let weight = max(dot(axis, light), 0.0);
            total += vec4f(environment(light) * weight, weight);
        }
    }
    return vec4f(total.rgb / max(total.w, 1e-4), 1.0);
}
