// The mesh, parallax by the baked heights, and what a pixel of it shows. `A_sample` and `A_error` come from pipelines.js.

@group(3) @binding(0) var heights: texture_2d<f32>;
@group(3) @binding(1) var heights_sampler: sampler;

struct Vertex {
    @location(0) position: vec3f,
    @location(1) normal: vec3f,
    @location(2) tangent: vec3f,
    @location(3) uv: vec2f,
}

struct Varyings {
    @builtin(position) pixel: vec4f,
    @location(0) position: vec3f,
    @location(1) normal: vec3f,
    @location(2) tangent: vec3f,
    @location(3) uv: vec2f,
}

@vertex fn vertex(vertex: Vertex) -> Varyings {
    let aspect = SIZE.y / SIZE.x;
    let fitted = frame.choice.w == 1;
    let position = vertex.position * vec3f(1.0, select(1.0, aspect, fitted), 1.0);
    let uv = vertex.uv * frame.surface.x * vec2f(1.0, select(1.0 / aspect, 1.0, fitted));
    return Varyings(frame.view_projection * vec4f(position, 1.0), position, vertex.normal, vertex.tangent, uv);
}

const COARSE_STEPS = 16;
const FINE_STEPS = 4;

fn depth_at(uv: vec2f, lod: f32) -> f32 {
    return 1.0 - textureSampleLevel(heights, heights_sampler, uv, lod).r;
}

// Follows the view ray into the relief; `view` points to the eye in the tangent frame. Returns the uv that is seen.
fn parallax(uv: vec2f, view: vec3f, footprint: Footprint) -> vec2f {
    let lod = footprint.lod - log2(SIZE.x / f32(textureDimensions(heights).x));
    let whole = vec2f(-view.x, view.y) / max(view.z, 0.2) * frame.surface.y;
    var before = 0.0;
    var after = 0.0;
    for (var i = 1; i <= COARSE_STEPS; i++) {
        after = f32(i) / f32(COARSE_STEPS);
        if after >= depth_at(uv + whole * after, lod) {
            break;
        }
        before = after;
    }
    for (var i = 0; i < FINE_STEPS; i++) {
        let middle = 0.5 * (before + after);
        let below = middle >= depth_at(uv + whole * middle, lod);
        before = select(middle, before, below);
        after = select(after, middle, below);
    }
    return uv + whole * after;
}

fn shown_map(material: Material) -> vec3f {
    switch frame.choice.x {
        case 1: { return srgb_from_linear(material.diffuse); }
        case 2: { return material.normal; }
        case 3: { return vec3f(material.roughness); }
        case 4: { return vec3f(material.occlusion); }
        case 5: { return vec3f(material.metallic); }
        case 6: { return vec3f(material.specular); }
        default: { return vec3f(material.displacement); }
    }
}

// Mean absolute difference of the map that is shown, or of all channels that are present, in the files' coding.
fn difference(a: Material, b: Material) -> f32 {
    let diffuse = dot(abs(srgb_from_linear(a.diffuse) - srgb_from_linear(b.diffuse)), vec3f(1.0));
    let normal = dot(abs(a.normal - b.normal), vec3f(1.0));
    // Indexed by a value that is known at run time, so a variable: not all compilers take a constant.
    var scalars = array<f32, 5>(
        abs(a.roughness - b.roughness),
        abs(a.occlusion - b.occlusion),
        abs(a.metallic - b.metallic),
        abs(a.specular - b.specular),
        abs(a.displacement - b.displacement),
    );
    if frame.choice.x == 1 { return diffuse / 3.0; }
    if frame.choice.x == 2 { return normal / 3.0; }
    if frame.choice.x >= 3 { return scalars[frame.choice.x - 3]; }
    var total = diffuse * f32(HAS_DIFFUSE) + normal * f32(HAS_NORMAL);
    total += scalars[0] * f32(HAS_ROUGHNESS) + scalars[1] * f32(HAS_OCCLUSION) + scalars[2] * f32(HAS_METALLIC);
    total += scalars[3] * f32(HAS_SPECULAR) + scalars[4] * f32(HAS_DISPLACEMENT);
    return total / f32(CHANNELS);
}

// Black, violet, red, yellow, white: equal steps of lightness. The page's legend has the same colours.
fn heat(value: f32) -> vec3f {
    var stops = array<vec3f, 6>(
        vec3f(0.0, 0.0, 0.0),
        vec3f(0.23, 0.06, 0.44),
        vec3f(0.60, 0.15, 0.42),
        vec3f(0.90, 0.36, 0.19),
        vec3f(0.98, 0.70, 0.16),
        vec3f(1.0, 1.0, 0.85),
    );
    let place = clamp(value, 0.0, 1.0) * 5.0;
    let first = min(i32(place), 4);
    return mix(stops[first], stops[first + 1], place - f32(first));
}

@fragment fn fragment(input: Varyings, @builtin(front_facing) is_front: bool) -> @location(0) vec4f {
    let footprint = footprint_of(dpdx(input.uv), dpdy(input.uv));
    let side = select(-1.0, 1.0, is_front);
    let normal = normalize(input.normal) * side;
    let tangent = normalize(input.tangent - normal * dot(input.tangent, normal));
    let bitangent = cross(normal, tangent) * side;
    let view = normalize(frame.eye.xyz - input.position);
    var uv = input.uv;
    // A single texel: heights have not been decoded yet.
    if SHADES_DISPLACEMENT == 1 && frame.surface.y > 0.0 && textureDimensions(heights).x > 1u {
        uv = parallax(uv, vec3f(dot(view, tangent), dot(view, bitangent), dot(view, normal)), footprint);
    }
    let noise = pixel_noise(input.pixel.xy);
    if IS_ERROR {
        return vec4f(heat(A_error(uv, footprint, noise) * frame.surface.w), 1.0);
    }
    let material = A_sample(uv, footprint, noise);
    if frame.choice.x != 0 {
        return vec4f(shown_map(material), 1.0);
    }
    return vec4f(lit(material, input.position, normal, tangent, bitangent, view), 1.0);
}
