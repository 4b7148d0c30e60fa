# Loads the material wall of the package, draws its maps and a lit sphere, and reports the pixels to the page.
extends Node


func _pixels(viewport: SubViewport) -> String:
	viewport.render_target_update_mode = SubViewport.UPDATE_ALWAYS
	for frame in 3:
		await RenderingServer.frame_post_draw
	var image := viewport.get_texture().get_image()
	image.convert(Image.FORMAT_RGB8)
	viewport.queue_free()
	return Marshalls.raw_to_base64(image.get_data())


func _viewport(width: int, height: int) -> SubViewport:
	var viewport := SubViewport.new()
	viewport.size = Vector2i(width, height)
	add_child(viewport)
	return viewport


func _maps(material: ShaderMaterial, group: int, mip: int, width: int, height: int) -> String:
	var viewport := _viewport(width, height)
	var own := ShaderMaterial.new()
	own.shader = load("res://maps.gdshader")
	for uniform in own.shader.get_shader_uniform_list():
		own.set_shader_parameter(uniform.name, material.get_shader_parameter(uniform.name))
	own.set_shader_parameter("group", group)
	own.set_shader_parameter("mip", mip)
	var rect := ColorRect.new()
	rect.size = Vector2(width, height)
	rect.material = own
	viewport.add_child(rect)
	return await _pixels(viewport)


func _lit(material: ShaderMaterial, width: int, height: int) -> String:
	var viewport := _viewport(width, height)
	viewport.own_world_3d = true
	var sphere := MeshInstance3D.new()
	sphere.mesh = SphereMesh.new()
	sphere.material_override = material
	viewport.add_child(sphere)
	var light := DirectionalLight3D.new()
	light.rotation_degrees = Vector3(-30, 30, 0)
	viewport.add_child(light)
	var camera := Camera3D.new()
	camera.position = Vector3(0, 0, 1.4)
	viewport.add_child(camera)
	return await _pixels(viewport)


# The shader of the material without light, on a quad whose texels are the pixels.
func _unlit(material: ShaderMaterial, width: int, height: int) -> String:
	var viewport := _viewport(width, height)
	viewport.own_world_3d = true
	var own: ShaderMaterial = material.duplicate()
	own.shader = Shader.new()
	own.shader.code = material.shader.code.replace("shader_type spatial;", "shader_type spatial; render_mode unshaded;") \
			.replace('#include "', '#include "res://package/')
	own.set_shader_parameter("noise_amount", 0.0)
	for uniform in material.shader.get_shader_uniform_list():
		if uniform.name != "noise_amount":
			own.set_shader_parameter(uniform.name, material.get_shader_parameter(uniform.name))
	var quad := MeshInstance3D.new()
	quad.mesh = QuadMesh.new()
	quad.mesh.size = Vector2(width, height)
	quad.material_override = own
	viewport.add_child(quad)
	var camera := Camera3D.new()
	camera.projection = Camera3D.PROJECTION_ORTHOGONAL
	camera.size = height
	camera.position = Vector3(0, 0, 1)
	viewport.add_child(camera)
	return await _pixels(viewport)


func _ready() -> void:
	var items: Array = JSON.parse_string(FileAccess.get_file_as_string("res://items.json"))
	var material: ShaderMaterial = load("res://package/wall.tres")
	var textures := {}
	for uniform in material.shader.get_shader_uniform_list():
		var value: Variant = material.get_shader_parameter(uniform.name)
		if value is Texture2D:
			textures[uniform.name] = [value.get_width(), value.get_height(), value.get_image().has_mipmaps()]
	var images := []
	for item in items:
		images.append(await _maps(material, item.group, item.mip, item.width, item.height))
	var result := {
		"version": Engine.get_version_info().string,
		"textures": textures,
		"images": images,
		"lit": await _lit(material, 96, 96),
		"unlit": await _unlit(material, items[0].width, items[0].height),
	}
	JavaScriptBridge.eval("report(Object.assign(%s, {errors}))" % JSON.stringify(result))
