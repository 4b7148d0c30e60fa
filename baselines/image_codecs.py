"""Image formats without random access, as references: JPEG XL and AVIF through Pillow."""

from __future__ import annotations

import io
import time

import numpy as np

from baselines.codec import Encoded, Texture


def _through_pillow(texture: Texture, file_format: str, options: dict) -> Encoded:
    """Encode and decode with a Pillow format: three channels as RGB, others as grey images one by one."""
    from PIL import Image

    image = texture.image
    parts = [image] if image.shape[2] == 3 and texture.content != "scalars" else np.split(image, image.shape[2], axis=2)
    size, elapsed, decoded = 0, 0.0, []
    for part in parts:
        start = time.perf_counter()
        grey = part.shape[2] == 1
        if grey and file_format == "AVIF":
            options = {**options, "subsampling": "4:0:0"}
        file = io.BytesIO()
        Image.fromarray(part[..., 0] if grey else part).save(file, file_format, **options)
        elapsed += time.perf_counter() - start
        size += file.tell()
        file.seek(0)
        with Image.open(file) as back:
            decoded.append(np.asarray(back.convert("L" if grey else "RGB")).reshape(part.shape))
    return Encoded(size, np.concatenate(decoded, axis=2), 0, elapsed)


def encode_jxl(texture: Texture, setting: str) -> Encoded:
    """Encode at a quality such as `q80`."""
    import pillow_jxl  # noqa: F401  (registers the format with Pillow)

    return _through_pillow(texture, "JXL", {"quality": int(setting[1:])})


def encode_avif(texture: Texture, setting: str) -> Encoded:
    """Encode at a quality such as `q80`."""
    from PIL import features

    if not features.check("avif"):
        import pillow_avif  # noqa: F401  (registers the format with a Pillow built without it)
    return _through_pillow(texture, "AVIF", {"quality": int(setting[1:]), "subsampling": "4:4:4"})


def avif_packages() -> dict[str, str]:
    """Module -> package that AVIF needs: none where Pillow was built with it."""
    from PIL import features

    return {} if features.check_module("avif") else {"pillow_avif": "pillow-avif-plugin"}
