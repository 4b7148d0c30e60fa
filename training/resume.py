"""Whether a checkpoint and the images at hand belong together."""

from __future__ import annotations

from pathlib import Path

from dataset import TextureSet
from reporting.console import say
from training.checkpoint import Checkpoint
from utils.errors import UsageError


def check_same_material(saved: Checkpoint, texture_set: TextureSet, path: Path) -> None:
    """Raise `UsageError` where a checkpoint was trained on a material of another size or other maps.

    Other images of equal size and maps are allowed, and said.
    """
    found, expected = (texture_set.width, texture_set.height), (saved.width, saved.height)
    if found != expected:
        raise UsageError(
            f"data_dir holds a {found[0]} x {found[1]} material, {path} was trained on "
            f"{expected[0]} x {expected[1]}; give the data_dir it was trained on"
        )
    if texture_set.present != saved.present:
        raise UsageError(
            f"data_dir holds the maps {', '.join(k for k, v in texture_set.present.items() if v)}, {path} "
            f"was trained on {', '.join(k for k, v in saved.present.items() if v)}; "
            "give the data_dir it was trained on"
        )
    note = other_images_note(saved, texture_set, path)
    if note:
        say("note", note)


def other_images_note(saved: Checkpoint, texture_set: TextureSet, path: Path) -> str | None:
    """Return a line that says that images or mask are not those of the checkpoint; None where they are, or unknown."""
    if saved.fingerprint and saved.fingerprint != texture_set.fingerprint:
        return f"the images of {texture_set.name} are not those that {path} was trained on, though of the same size and maps"
    mask = texture_set.mask_for(bool(saved.config["model"].get("wrap", True)))
    if saved.mask != (mask.digest if mask else ""):
        return f"the mask of {texture_set.name} is not the one that {path} was trained with"
    return None
