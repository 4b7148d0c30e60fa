"""What an image says of its own colours: ICC profiles and the gamma tags of PNG, and conversion from CMYK and Lab."""

from __future__ import annotations

import io

from PIL import Image, ImageCms

SRGB_PRIMARIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
"""White, red, green, blue of IEC 61966-2-1, as x and y each; PNG's cHRM lists them in this order."""
_GAMMA_TOLERANCE, _PRIMARY_TOLERANCE = 0.005, 0.002
"""How far tags that mean sRGB are off: 1/2.2 is written for its curve, and primaries are rounded."""


def _profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The embedded ICC profile; None where there is none, or it cannot be read."""
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    except (KeyError, OSError, TypeError, ValueError):
        return None


def _profile_name(profile: ImageCms.ImageCmsProfile) -> str:
    text = " ".join(str(profile.profile.profile_description or "").split())
    return f"{text[:60]}" if text.isprintable() and text else "without a name"


def coding_notices(image: Image.Image, name: str) -> list[str]:
    """Name an ICC profile, or gamma and primaries of a PNG, that is not plain sRGB; texels stay as they are coded.

    CMYK is left out: it is converted.
    """
    kept = "its texels are taken as they are coded"
    if image.info.get("icc_profile"):
        if image.mode in ("CMYK", "LAB"):
            return []
        profile = _profile(image)
        if profile is None:
            return [f"{name} has a colour profile that cannot be read; {kept}"]
        if "srgb" in _profile_name(profile).lower():
            return []
        return [f"{name} has the colour profile {_profile_name(profile)}, not sRGB; {kept}"]
    if image.format != "PNG" or "srgb" in image.info:
        return []
    said = []
    gamma, primaries = image.info.get("gamma"), image.info.get("chromaticity")
    if gamma and abs(gamma - 1 / 2.2) > _GAMMA_TOLERANCE:
        said.append(f"gamma {gamma:.5g}" + (" (linear light)" if abs(gamma - 1) < _GAMMA_TOLERANCE else ""))
    if primaries and any(abs(a - b) > _PRIMARY_TOLERANCE for a, b in zip(primaries, SRGB_PRIMARIES)):
        said.append("primaries of its own")
    return [f"{name} says that it has {' and '.join(said)}, not those of sRGB; {kept}"] if said else []


def converted_to_srgb(image: Image.Image, name: str, notices: list[str]) -> Image.Image:
    """Convert CMYK, Lab, YCbCr or HSV to RGB: CMYK by its profile where it has one, to sRGB."""
    profile = _profile(image)
    if image.mode == "LAB":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    if image.mode in ("CMYK", "LAB") and profile is not None:
        try:
            converted = ImageCms.profileToProfile(
                image, profile, ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB"
            )
        except ImageCms.PyCMSError:
            converted = None
        if converted is not None:
            by = "" if image.mode == "LAB" else f" by its profile {_profile_name(profile)}"
            notices.append(f"{name} is {image.mode}, converted to sRGB{by}")
            return converted
    notices.append(f"{name} is {image.mode}, converted to RGB without a colour profile")
    return image.convert("RGB")
