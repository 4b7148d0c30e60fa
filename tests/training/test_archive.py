"""Archives of tensors that are not what `torch.save` writes of a checkpoint are refused before anything is allocated."""

from __future__ import annotations

import zipfile

import pytest
import torch

from training.archive import read_archive


def nested(times):
    value = ["x"]
    for _ in range(times):
        value = [value] * 10
    return value


@pytest.mark.parametrize(
    "content, words",
    [
        ({"a": torch.zeros(1).expand(1 << 20, 1 << 20)}, "larger than the file"),
        ({"a": torch.zeros(2, 2).to_sparse()}, "asks for|not dense"),
        ({"a": torch.zeros(3, device="meta")}, "asks for|not dense"),
        ({"a": nested(20)}, "nested too deeply, or too many"),
        ({"a": torch.zeros(3, requires_grad=True)}, "not dense, or not plain"),
    ],
)
def test_values_that_no_checkpoint_holds_are_refused(tmp_path, content, words):
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=words):
        read_archive(tmp_path / "model.pth")


def test_packed_members_are_refused_and_plain_ones_read(tmp_path):
    torch.save({"a": torch.arange(4), "b": [1, 2.5, None, "x"]}, tmp_path / "model.pth")
    assert read_archive(tmp_path / "model.pth")["b"] == [1, 2.5, None, "x"]
    with zipfile.ZipFile(tmp_path / "model.pth") as source:
        with zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as target:
            for name in source.namelist():
                target.writestr(name, source.read(name))
    with pytest.raises(ValueError, match="packed members"):
        read_archive(tmp_path / "packed.pth")
