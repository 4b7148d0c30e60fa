"""SPIR-V run by the machine's Vulkan driver itself, with nothing that translates it in between."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.runtime_device import POINT, bake_groups
from formats.dds import read_dds
from formats.reader import NeuralTextureReader
from runtime.shaders import Shader

FORMATS = {
    "R8G8B8A8_UNORM": "VK_FORMAT_R8G8B8A8_UNORM",
    # DXGI names a texel's channels from the lowest bit, packed formats of Vulkan from the highest.
    "B4G4R4A4_UNORM": "VK_FORMAT_A4R4G4B4_UNORM_PACK16",
    "R16G16B16A16_UNORM": "VK_FORMAT_R16G16B16A16_UNORM",
    "R32_UINT": "VK_FORMAT_R32_UINT",
    "R32G32_UINT": "VK_FORMAT_R32G32_UINT",
    "R32G32B32A32_UINT": "VK_FORMAT_R32G32B32A32_UINT",
}
DESCRIPTORS = {
    "texture": "VK_DESCRIPTOR_TYPE_SAMPLED_IMAGE",
    "sampler": "VK_DESCRIPTOR_TYPE_SAMPLER",
    "buffer": "VK_DESCRIPTOR_TYPE_STORAGE_BUFFER",
    "output_buffer": "VK_DESCRIPTOR_TYPE_STORAGE_BUFFER",
    "uniform": "VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER",
    "storage_texture": "VK_DESCRIPTOR_TYPE_STORAGE_IMAGE",
}


def require_vulkan():
    """Return the device with its queue, or skip the test with the lines to install what is missing."""
    found = _device()
    if isinstance(found, str):
        pytest.skip(found)
    return found


@cache
def _device():
    try:
        import vulkan as vk
    except ImportError:
        return "needs the package vulkan: pip install -r requirements-dev.txt"
    except OSError:
        return "needs Vulkan's loader: apt-get install libvulkan1 mesa-vulkan-drivers"
    application = vk.VkApplicationInfo(apiVersion=vk.VK_MAKE_VERSION(1, 3, 0))
    try:
        instance = vk.vkCreateInstance(vk.VkInstanceCreateInfo(pApplicationInfo=application), None)
        adapters = vk.vkEnumeratePhysicalDevices(instance)
    except vk.VkError:
        adapters = []
    kinds = [vk.vkGetPhysicalDeviceProperties(adapter).deviceType for adapter in adapters]
    order = sorted(zip(kinds, range(len(kinds))), key=lambda pair: pair[0] == vk.VK_PHYSICAL_DEVICE_TYPE_CPU)
    if not order:
        return "needs a Vulkan driver: apt-get install mesa-vulkan-drivers"
    adapter = adapters[order[0][1]]
    families = vk.vkGetPhysicalDeviceQueueFamilyProperties(adapter)
    family = next(i for i, entry in enumerate(families) if entry.queueFlags & vk.VK_QUEUE_COMPUTE_BIT)
    queue = vk.VkDeviceQueueCreateInfo(queueFamilyIndex=family, pQueuePriorities=[1.0])
    narrow = vk.VkPhysicalDevice4444FormatsFeaturesEXT(formatA4R4G4B4=True)
    half = vk.VkPhysicalDeviceVulkan12Features(pNext=narrow, shaderFloat16=True)
    features = vk.VkPhysicalDeviceFeatures2(
        pNext=half, features=vk.VkPhysicalDeviceFeatures(shaderStorageImageExtendedFormats=True, shaderInt16=True)
    )
    info = vk.VkDeviceCreateInfo(
        pNext=features, pQueueCreateInfos=[queue], ppEnabledExtensionNames=["VK_EXT_4444_formats"]
    )
    device = vk.vkCreateDevice(adapter, info, None)
    pool = vk.vkCreateCommandPool(device, vk.VkCommandPoolCreateInfo(queueFamilyIndex=family), None)
    memory = vk.vkGetPhysicalDeviceMemoryProperties(adapter)
    return SimpleNamespace(
        vk=vk,
        instance=instance,
        device=device,
        queue=vk.vkGetDeviceQueue(device, family, 0),
        pool=pool,
        memory=[memory.memoryTypes[i].propertyFlags for i in range(memory.memoryTypeCount)],
    )


def _allocate(gpu, requirements, flags: int):
    kind = next(i for i, own in enumerate(gpu.memory) if requirements.memoryTypeBits >> i & 1 and own & flags == flags)
    info = gpu.vk.VkMemoryAllocateInfo(allocationSize=requirements.size, memoryTypeIndex=kind)
    return gpu.vk.vkAllocateMemory(gpu.device, info, None)


class Buffer:
    """A buffer that the processor writes and reads."""

    def __init__(self, gpu, data: bytes | np.ndarray, usage: int) -> None:
        vk, self.gpu = gpu.vk, gpu
        content = data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes()
        self.size = len(content)
        self.handle = vk.vkCreateBuffer(gpu.device, vk.VkBufferCreateInfo(size=self.size, usage=usage), None)
        flags = vk.VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | vk.VK_MEMORY_PROPERTY_HOST_COHERENT_BIT
        self.memory = _allocate(gpu, vk.vkGetBufferMemoryRequirements(gpu.device, self.handle), flags)
        vk.vkBindBufferMemory(gpu.device, self.handle, self.memory, 0)
        vk.vkMapMemory(gpu.device, self.memory, 0, self.size, 0)[: self.size] = content
        vk.vkUnmapMemory(gpu.device, self.memory)

    def read(self) -> bytes:
        data = bytes(self.gpu.vk.vkMapMemory(self.gpu.device, self.memory, 0, self.size, 0)[: self.size])
        self.gpu.vk.vkUnmapMemory(self.gpu.device, self.memory)
        return data


class Image:
    """A texture, its levels written from arrays, or a storage texture of one level."""

    def __init__(self, gpu, format: str, width: int, height: int, mips: int, storage: bool = False) -> None:
        vk, self.gpu, self.size, self.mips = gpu.vk, gpu, (width, height), mips
        usage = vk.VK_IMAGE_USAGE_STORAGE_BIT if storage else vk.VK_IMAGE_USAGE_SAMPLED_BIT
        usage |= vk.VK_IMAGE_USAGE_TRANSFER_DST_BIT | vk.VK_IMAGE_USAGE_TRANSFER_SRC_BIT
        info = vk.VkImageCreateInfo(
            imageType=vk.VK_IMAGE_TYPE_2D,
            format=getattr(vk, FORMATS[format]),
            extent=vk.VkExtent3D(width, height, 1),
            mipLevels=mips,
            arrayLayers=1,
            samples=vk.VK_SAMPLE_COUNT_1_BIT,
            tiling=vk.VK_IMAGE_TILING_OPTIMAL,
            usage=usage,
            initialLayout=vk.VK_IMAGE_LAYOUT_UNDEFINED,
        )
        self.handle = vk.vkCreateImage(gpu.device, info, None)
        self.memory = _allocate(gpu, vk.vkGetImageMemoryRequirements(gpu.device, self.handle), 0)
        vk.vkBindImageMemory(gpu.device, self.handle, self.memory, 0)
        self.range = vk.VkImageSubresourceRange(vk.VK_IMAGE_ASPECT_COLOR_BIT, 0, mips, 0, 1)
        view = vk.VkImageViewCreateInfo(
            image=self.handle,
            viewType=vk.VK_IMAGE_VIEW_TYPE_2D,
            format=getattr(vk, FORMATS[format]),
            subresourceRange=self.range,
        )
        self.view = vk.vkCreateImageView(gpu.device, view, None)
        # One layout for all uses: the tests are no place to tune barriers.
        barrier = vk.VkImageMemoryBarrier(
            dstAccessMask=vk.VK_ACCESS_MEMORY_READ_BIT | vk.VK_ACCESS_MEMORY_WRITE_BIT,
            oldLayout=vk.VK_IMAGE_LAYOUT_UNDEFINED,
            newLayout=vk.VK_IMAGE_LAYOUT_GENERAL,
            image=self.handle,
            subresourceRange=self.range,
        )
        stages = vk.VK_PIPELINE_STAGE_ALL_COMMANDS_BIT
        submit(
            gpu, lambda commands: vk.vkCmdPipelineBarrier(commands, stages, stages, 0, 0, None, 0, None, 1, [barrier])
        )

    def _region(self, mip: int):
        vk = self.gpu.vk
        return vk.VkBufferImageCopy(
            imageSubresource=vk.VkImageSubresourceLayers(vk.VK_IMAGE_ASPECT_COLOR_BIT, mip, 0, 1),
            imageExtent=vk.VkExtent3D(max(self.size[0] >> mip, 1), max(self.size[1] >> mip, 1), 1),
        )

    def write(self, mip: int, level: np.ndarray) -> None:
        vk = self.gpu.vk
        source = Buffer(self.gpu, level, vk.VK_BUFFER_USAGE_TRANSFER_SRC_BIT)
        submit(
            self.gpu,
            lambda commands: vk.vkCmdCopyBufferToImage(
                commands, source.handle, self.handle, vk.VK_IMAGE_LAYOUT_GENERAL, 1, [self._region(mip)]
            ),
        )

    def read(self) -> np.ndarray:
        """The one level of an RGBA8 storage texture: uint8 `[H, W, 4]`."""
        vk, (width, height) = self.gpu.vk, self.size
        target = Buffer(self.gpu, bytes(4 * width * height), vk.VK_BUFFER_USAGE_TRANSFER_DST_BIT)
        submit(
            self.gpu,
            lambda commands: vk.vkCmdCopyImageToBuffer(
                commands, self.handle, vk.VK_IMAGE_LAYOUT_GENERAL, target.handle, 1, [self._region(0)]
            ),
        )
        return np.frombuffer(target.read(), np.uint8).reshape(height, width, 4)


def submit(gpu, record) -> None:
    """Record commands, run them and wait."""
    vk = gpu.vk
    info = vk.VkCommandBufferAllocateInfo(
        commandPool=gpu.pool, level=vk.VK_COMMAND_BUFFER_LEVEL_PRIMARY, commandBufferCount=1
    )
    commands = vk.vkAllocateCommandBuffers(gpu.device, info)[0]
    vk.vkBeginCommandBuffer(commands, vk.VkCommandBufferBeginInfo())
    record(commands)
    vk.vkEndCommandBuffer(commands)
    vk.vkQueueSubmit(gpu.queue, 1, [vk.VkSubmitInfo(pCommandBuffers=[commands])], None)
    vk.vkQueueWaitIdle(gpu.queue)


class VulkanDecoder:
    """A generated shader as SPIR-V, with its resources uploaded."""

    def __init__(
        self, shader: Shader, reader: NeuralTextureReader, spirv: bytes, entry: str, bindings: dict | None = None
    ) -> None:
        """`bindings`: numbers by name where they are not those of `shader.bindings`."""
        self.gpu, self.shader, self.reader = require_vulkan(), shader, reader
        vk, device = self.gpu.vk, self.gpu.device
        self.numbers = bindings or {b.name: b.number for b in shader.bindings}
        self.kinds = {b.name: getattr(vk, DESCRIPTORS[b.kind]) for b in shader.bindings}
        entries = [
            vk.VkDescriptorSetLayoutBinding(
                binding=self.numbers[name],
                descriptorType=kind,
                descriptorCount=1,
                stageFlags=vk.VK_SHADER_STAGE_COMPUTE_BIT,
            )
            for name, kind in self.kinds.items()
        ]
        self.set_layout = vk.vkCreateDescriptorSetLayout(
            device, vk.VkDescriptorSetLayoutCreateInfo(pBindings=entries), None
        )
        self.layout = vk.vkCreatePipelineLayout(
            device, vk.VkPipelineLayoutCreateInfo(pSetLayouts=[self.set_layout]), None
        )
        module = vk.vkCreateShaderModule(device, vk.VkShaderModuleCreateInfo(codeSize=len(spirv), pCode=spirv), None)
        stage = vk.VkPipelineShaderStageCreateInfo(stage=vk.VK_SHADER_STAGE_COMPUTE_BIT, module=module, pName=entry)
        info = vk.VkComputePipelineCreateInfo(stage=stage, layout=self.layout)
        self.pipeline = vk.vkCreateComputePipelines(device, None, 1, [info], None)[0]
        sizes = [vk.VkDescriptorPoolSize(type=kind, descriptorCount=8) for kind in set(self.kinds.values())]
        self.descriptors = vk.vkCreateDescriptorPool(
            device, vk.VkDescriptorPoolCreateInfo(maxSets=64, pPoolSizes=sizes), None
        )
        self.fixed = {b.name: self._fixed(b) for b in shader.bindings if b.kind == "sampler" or b.file}

    def _fixed(self, binding):
        vk = self.gpu.vk
        if binding.kind == "sampler":
            wrap = self.reader.manifest["wrap"]
            mode = vk.VK_SAMPLER_ADDRESS_MODE_REPEAT if wrap else vk.VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE
            info = vk.VkSamplerCreateInfo(
                magFilter=vk.VK_FILTER_LINEAR,
                minFilter=vk.VK_FILTER_LINEAR,
                addressModeU=mode,
                addressModeV=mode,
                maxLod=16,
            )
            return vk.vkCreateSampler(self.gpu.device, info, None)
        if binding.name == "weights":
            return Buffer(self.gpu, self.shader.weights.data, vk.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT)
        header, levels = read_dds(self.reader.folder / binding.file)
        image = Image(self.gpu, binding.format, header.width, header.height, len(levels))
        for mip, level in enumerate(levels):
            image.write(mip, level)
        return image

    def _dispatch(self, resources: dict, groups: tuple[int, int, int]) -> None:
        vk, device = self.gpu.vk, self.gpu.device
        info = vk.VkDescriptorSetAllocateInfo(descriptorPool=self.descriptors, pSetLayouts=[self.set_layout])
        chosen = vk.vkAllocateDescriptorSets(device, info)
        writes = []
        for name, resource in {**self.fixed, **resources}.items():
            fields = {"dstSet": chosen[0], "dstBinding": self.numbers[name], "descriptorType": self.kinds[name]}
            if isinstance(resource, Buffer):
                place = vk.VkDescriptorBufferInfo(buffer=resource.handle, offset=0, range=resource.size)
                writes.append(vk.VkWriteDescriptorSet(**fields, descriptorCount=1, pBufferInfo=[place]))
            else:
                image = isinstance(resource, Image)
                own = {"imageView": resource.view} if image else {"sampler": resource}
                place = vk.VkDescriptorImageInfo(**own, imageLayout=vk.VK_IMAGE_LAYOUT_GENERAL)
                writes.append(vk.VkWriteDescriptorSet(**fields, descriptorCount=1, pImageInfo=[place]))
        vk.vkUpdateDescriptorSets(device, len(writes), writes, 0, None)

        def record(commands) -> None:
            vk.vkCmdBindPipeline(commands, vk.VK_PIPELINE_BIND_POINT_COMPUTE, self.pipeline)
            vk.vkCmdBindDescriptorSets(commands, vk.VK_PIPELINE_BIND_POINT_COMPUTE, self.layout, 0, 1, chosen, 0, None)
            vk.vkCmdDispatch(commands, *groups)

        submit(self.gpu, record)

    def decode(self, points: np.ndarray) -> np.ndarray:
        """Decode points by NeuralTexture_Decode: float32 `[N, 11]`."""
        assert points.dtype == POINT
        vk = self.gpu.vk
        storage, uniform = vk.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, vk.VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT
        decoded = Buffer(self.gpu, bytes(48 * len(points)), storage)
        resources = {
            "decode_settings": Buffer(self.gpu, np.array([len(points), 0, 0, 0], np.uint32), uniform),
            "points": Buffer(self.gpu, points, storage),
            "decoded": decoded,
        }
        self._dispatch(resources, (-(-len(points) // 64), 1, 1))
        return np.frombuffer(decoded.read(), np.float32).reshape(-1, 12)[:, :11]

    def bake(self, mip: int) -> dict[str, np.ndarray]:
        """Run NeuralTexture_Bake on a mip: uint8 `[H, W, 4]` of each storage texture."""
        width, height = self.reader.mip_size(mip)
        images = {
            b.name: Image(self.gpu, "R8G8B8A8_UNORM", width, height, 1, storage=True)
            for b in self.shader.bindings
            if b.kind == "storage_texture"
        }
        usage = self.gpu.vk.VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT
        settings = Buffer(self.gpu, np.array([mip, 0, 0, 0], np.uint32), usage)
        self._dispatch({**images, "bake_settings": settings}, bake_groups(self.shader, width, height, mip))
        return {name: image.read() for name, image in images.items()}
