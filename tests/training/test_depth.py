"""Training beyond 8 bits: targets, losses and figures of maps that are deeper, from files to the manifest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch
from PIL import Image

from configs import Config, ImageConfig, config_from_dict
from dataset import TextureSet, load_texture_set
from export import decode_to_pngs
from formats.manifest import image_settings
from formats.reader import NeuralTextureReader
from model.decoder.canonical import canonical_weights
from tests.helpers import SHORT, run_folder, run_train
from training.export_source import ExportSource, source_from_checkpoint
from training.exporting import export_material
from training.fine_texels import fine_texels
from training.flags import resume_config
from training.loss import present_channels
from training.schedule import rate_factor
from training.session import open_session
from utils.errors import UsageError

SIDE = 64
ONE_CODE = 0.45 / 255
"""Half the height of a surface that 8 bits hold as one single code."""


def heights(amplitude: float) -> np.ndarray:
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    return 100 / 255 + amplitude * np.sin(2 * np.pi * x) * np.cos(2 * np.pi * y)


def material(folder: Path, amplitude: float = 0.3, colour: bool = False) -> TextureSet:
    """A smooth surface as a 16-bit PNG, with `colour` an 8-bit diffuse map with alpha beside it."""
    folder.mkdir(exist_ok=True)
    (folder / "a_height.png").write_bytes(imagecodecs.png_encode(np.rint(heights(amplitude) * 65535).astype(np.uint16)))
    if colour:
        values = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 4), np.uint8)
        (folder / "a_albedo.png").write_bytes(imagecodecs.png_encode(values))
    return load_texture_set(folder)


def settings(iterations: int) -> Config:
    grid = {"quantize_bits": 8, "save_bits": 32}
    return config_from_dict(
        {
            "model": {
                "hash_grid_configs": [
                    {**grid, "max_resolution": 16, "n_levels": 3},
                    {**grid, "max_resolution": 8, "n_levels": 2},
                ],
                "output_activation": "none",
                "activation": "hard_swish",
            },
            "quantize": {"noise_std": 0.0},
            "train": {
                "batch_size": 4096,
                "max_iter": iterations,
                "device": "cpu",
                "backend": "torch",
                "precision": "float32",
            },
        },
        Config(),
    )


def test_targets_are_the_deep_values_of_every_mip(tmp_path: Path) -> None:
    textures = material(tmp_path / "wall", colour=True)
    session = open_session(settings(1), textures)
    sampler = session.sampler
    assert sampler.fine is not None and sampler.fine.values.shape == (len(sampler.texels), 1)
    found = sampler.fine.targets(sampler.texels, torch.arange(len(sampler.texels))).numpy()
    expected = np.concatenate([textures.map_values("displacement", mip).ravel() for mip in range(len(textures.mips))])
    assert np.abs(found[:, 3] - expected).max() <= 2**-22
    # Maps of 8 bits are what they are without any deep map.
    assert np.array_equal(found[:, :3], (sampler.texels[:, :3].float() * np.float32(1 / 255)).numpy())


def test_a_material_of_8_bits_has_no_second_array_of_targets(tmp_path: Path) -> None:
    textures = replace(material(tmp_path / "wall"), fine={})
    session = open_session(settings(1), textures)
    assert fine_texels(textures, present_channels(textures.present), torch.device("cpu")) is None
    assert session.sampler.fine is None and session.training_step().fine is None


def trained_psnr_16bit(measured: TextureSet, trained: TextureSet, folder: Path, iterations: int) -> float:
    """PSNR in 16 bits, finest mip, of a training on one set that is measured on another."""
    session = open_session(settings(iterations), trained)
    step = session.training_step()
    for iteration in range(iterations):
        fraction = iteration / iterations
        step(session.sampler.draw(), session.noise(fraction), rate_factor(fraction, 0.01))
    grids = [[level.numpy() for level in levels] for levels in session.host_grids()]
    weights = canonical_weights(session.texture.decoder).numpy()
    source = ExportSource(session.layout, grids, weights, measured.present, "opengl")
    manifest = export_material(source, folder, measured).manifest
    return manifest["psnr_16bit"]["displacement"][0]


def test_training_brings_what_8_bits_cannot_hold(tmp_path: Path) -> None:
    textures = material(tmp_path / "wall", ONE_CODE)
    assert len(np.unique(textures.mips[0][..., 10])) == 1
    # All that 8-bit targets can teach is the one code, whose error is the surface itself.
    most_db = -10 * np.log10(np.square(heights(ONE_CODE) - 100 / 255).mean())
    assert most_db == pytest.approx(61.1, abs=0.1)
    deep_db = trained_psnr_16bit(textures, textures, tmp_path / "deep", 150)
    assert deep_db > most_db + 3
    assert trained_psnr_16bit(textures, replace(textures, fine={}), tmp_path / "coarse", 150) < most_db + 0.1


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, Path, str]:
    """A short run with deep heights and opacity in place of specular: data folder, run folder, console."""
    folder = tmp_path_factory.mktemp("depth")
    material(folder / "wall", colour=True)
    process = run_train(
        "--data_dir", folder / "wall", "--save_dir", folder / "out", "--opacity_as", "specular", *SHORT, cwd=folder
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return folder / "wall", run_folder(folder / "out"), process.stdout


def manifest_of(run_dir: Path) -> dict:
    return json.loads((run_dir / "models" / "train_result_40" / "manifest.json").read_text(encoding="utf-8"))


def test_psnr_in_16_bits_is_that_of_the_exported_files(run: tuple[Path, Path, str]) -> None:
    data_dir, run_dir, _ = run
    textures, manifest = load_texture_set(data_dir, images=ImageConfig(opacity_as="specular")), manifest_of(run_dir)
    assert list(manifest["psnr_16bit"]) == ["displacement"]
    reader = NeuralTextureReader(run_dir / "models" / "train_result_40")
    for mip, psnr_db in enumerate(manifest["psnr_16bit"]["displacement"]):
        codes, deep = reader.decode_codes(mip, ["displacement"])
        assert np.array_equal(codes, reader.decode_uint8(mip))
        decoded = np.rint(reader.decode(mip)[..., 10:] * 65535)
        assert np.array_equal(deep["displacement"], decoded)
        error = np.square(decoded - textures.codes_16bit("displacement", mip).astype(float)).mean()
        assert psnr_db == pytest.approx(10 * np.log10(65535**2 / error))
    # The contract's figure stays that of 8-bit output.
    error = np.square(reader.decode_uint8(0)[..., 10] - textures.mips[0][..., 10].astype(float)).mean()
    assert manifest["psnr"]["displacement"][0] == pytest.approx(10 * np.log10(255**2 / error))


def test_console_and_report_say_depth_opacity_and_both_figures(run: tuple[Path, Path, str]) -> None:
    _, run_dir, console = run
    report = (run_dir / "report.html").read_text(encoding="utf-8")
    figure = f"{manifest_of(run_dir)['psnr_16bit']['displacement'][0]:.2f}"
    for text in (console, report):
        assert figure in text and "displacement (16 bits)" in text and "specular (holds opacity)" in text
        assert "specular holds opacity, read from channel A of a_albedo.png" in " ".join(text.split())
    assert "displacement trained beyond 8 bits" in console


def test_the_manifest_says_depth_and_opacity_and_reads_the_images_alike(run: tuple[Path, Path, str]) -> None:
    data_dir, run_dir, _ = run
    manifest = manifest_of(run_dir)
    facts = {entry["name"]: entry for entry in manifest["channels"] if entry["present"]}
    assert {name: entry["depth"] for name, entry in facts.items()} == {"diffuse": 8, "specular": 8, "displacement": 16}
    assert facts["specular"]["holds"] == "opacity" and "holds" not in facts["displacement"]
    assert load_texture_set(data_dir, images=image_settings(manifest, data_dir)).fingerprint == manifest["fingerprint"]
    reader = NeuralTextureReader(run_dir / "models" / "train_result_40")
    assert reader.holds == {"specular": "opacity"} and reader.ranges == {}


def test_deep_heights_are_decoded_to_png_of_16_bits(run: tuple[Path, Path, str], tmp_path: Path) -> None:
    folder = run[1] / "models" / "train_result_40"
    decode_to_pngs(folder, tmp_path, 1)
    _, deep = NeuralTextureReader(folder).decode_codes(1, ["displacement"])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "displacement_mip1.png")), deep["displacement"][..., 0])
    assert Image.open(tmp_path / "specular_mip1.png").mode == "L"


def test_a_checkpoint_remembers_what_its_maps_hold(run: tuple[Path, Path, str], tmp_path: Path) -> None:
    source, reference = source_from_checkpoint(run[1], -1)
    assert reference is not None and reference.holds == {"specular": "opacity"}
    # Also where the images are gone.
    manifest = export_material(source, tmp_path).manifest
    assert {entry["name"]: entry.get("holds") for entry in manifest["channels"]}["specular"] == "opacity"
    assert manifest["channels"][-1]["depth"] == 16


@pytest.mark.parametrize("flag", [{"opacity_as": "metallic"}, {"normal_convention": "directx"}])
def test_how_images_are_read_stays_when_a_run_goes_on(run: tuple[Path, Path, str], flag: dict[str, str]) -> None:
    saved = json.loads((run[1] / "config.json").read_text(encoding="utf-8"))
    saved = {name: section for name, section in saved.items() if isinstance(section, dict)}
    assert resume_config(saved, {}, Path("model.pth")).images.opacity_as == "specular"
    with pytest.raises(UsageError, match=next(iter(flag))):
        resume_config(saved, flag, Path("model.pth"))


def test_heights_of_any_range_come_back_through_the_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "wall"
    folder.mkdir()
    metres = (heights(0.3) * 40 - 10).astype(np.float32)
    (folder / "a_height.tif").write_bytes(imagecodecs.tiff_encode(metres))
    textures = load_texture_set(folder)
    session = open_session(settings(1), textures)
    grids = [[level.numpy() for level in levels] for levels in session.host_grids()]
    weights = canonical_weights(session.texture.decoder).numpy()
    source = ExportSource(session.layout, grids, weights, textures.present, "opengl", map_facts=textures.map_facts)
    export_material(source, tmp_path / "export", textures)
    low, high = NeuralTextureReader(tmp_path / "export").ranges["displacement"]
    assert (low, high) == (float(metres.min()), float(metres.max()))
