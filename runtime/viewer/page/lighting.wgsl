// Metal-roughness shading with GGX: prefiltered environment and one point light. Maps that are missing have defaults.

const PI = 3.14159265359;
const PREFILTERED_MIPS = 5.0;

// B. Karis, "Physically Based Shading on Mobile", 2014: fit of the environment BRDF's scale and bias.
fn environment_brdf(f0: vec3f, roughness: f32, n_dot_v: f32) -> vec3f {
    let r = roughness * vec4f(-1.0, -0.0275, -0.572, 0.022) + vec4f(1.0, 0.0425, 1.04, -0.04);
    let a = min(r.x * r.x, exp2(-9.28 * n_dot_v)) * r.x + r.y;
    let scale_bias = vec2f(-1.04, 1.04) * a + r.zw;
    return f0 * scale_bias.x + scale_bias.y;
}

fn point_light(
    position: vec3f, normal: vec3f, view: vec3f, diffuse: vec3f, f0: vec3f, roughness: f32
) -> vec3f {
    let to_light = frame.light_position.xyz - position;
    let light = normalize(to_light);
    let n_dot_l = dot(normal, light);
    if n_dot_l <= 0.0 {
        return vec3f(0.0);
    }
    let half_vector = normalize(light + view);
    let n_dot_v = max(dot(normal, view), 1e-3);
    let n_dot_h = saturate(dot(normal, half_vector));
    let alpha = roughness * roughness;
    let alpha2 = alpha * alpha;
    let base = n_dot_h * n_dot_h * (alpha2 - 1.0) + 1.0;
    let distribution = alpha2 / (PI * base * base);
    // Smith's height-correlated visibility, with 1 / (4 n.l n.v) in it.
    let visibility = 0.5 / (n_dot_l * sqrt(n_dot_v * n_dot_v * (1.0 - alpha2) + alpha2)
        + n_dot_v * sqrt(n_dot_l * n_dot_l * (1.0 - alpha2) + alpha2));
    let fresnel = f0 + (1.0 - f0) * pow(1.0 - saturate(dot(view, half_vector)), 5.0);
    let radiance = frame.light_colour.rgb / max(dot(to_light, to_light), 0.01);
    return (diffuse * (1.0 - fresnel) / PI + fresnel * distribution * visibility) * radiance * n_dot_l;
}

fn lit(
    material: Material, position: vec3f, normal: vec3f, tangent: vec3f, bitangent: vec3f, view: vec3f
) -> vec3f {
    var bump = select(vec3f(0.0, 0.0, 1.0), material.normal * 2.0 - 1.0, SHADES_NORMAL == 1);
    bump.y *= select(1.0, -1.0, IS_DIRECTX);
    let n = normalize(tangent * bump.x + bitangent * bump.y + normal * max(bump.z, 0.05));
    let base = select(vec3f(1.0), material.diffuse, SHADES_DIFFUSE == 1);
    let metallic = select(0.0, material.metallic, SHADES_METALLIC == 1);
    let occlusion = select(1.0, material.occlusion, SHADES_OCCLUSION == 1);
    let specular = select(0.5, material.specular, SHADES_SPECULAR == 1);
    let roughness = clamp(select(1.0, material.roughness, SHADES_ROUGHNESS == 1), 0.05, 1.0);
    let diffuse = base * (1.0 - metallic);
    let f0 = mix(vec3f(0.08 * specular), base, metallic);

    let n_dot_v = clamp(dot(n, view), 1e-3, 1.0);
    let mirrored = reflect(-view, n);
    let irradiance = textureSampleLevel(environment_irradiance, smooth_sampler, turned(n), 0.0).rgb;
    let prefiltered =
        textureSampleLevel(environment_specular, smooth_sampler, turned(mirrored), roughness * PREFILTERED_MIPS).rgb;
    let reflected = environment_brdf(f0, roughness, n_dot_v);
    // Occlusion darkens reflections less the sharper they are (S. Lagarde, C. de Rousiers, 2014).
    let gloss_occlusion =
        saturate(pow(n_dot_v + occlusion, exp2(-16.0 * roughness - 1.0)) - 1.0 + occlusion);
    let horizon = saturate(1.0 + 1.5 * dot(mirrored, normal));
    let ambient = irradiance * diffuse * (1.0 - reflected) * occlusion
        + prefiltered * reflected * gloss_occlusion * horizon * horizon;
    return ambient * frame.picture.z + point_light(position, n, view, diffuse, f0, roughness);
}
