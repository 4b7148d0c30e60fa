"""One training in progress: what it works on, how far it is, and its checkpoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from configs import LEARNING_RATES, Config
from dataset import TextureSet
from model.backends.choose import EXPERIMENTAL, choose_device, choose_precision, make_backend, usable_backends
from model.backends.tcnn_layout import network_type
from model.backends.torch_backend import TorchBackend
from model.decoder.canonical import load_canonical_weights
from model.grids.initial import initial_grids
from model.layout import ModelLayout, model_layout
from model.precision import full_float32
from model.texture import NeuralTexture
from model.transform_start import TransformStart, starts_as_transform
from quantize import noise_amplitude
from reporting.console import say
from training.backend_trial import faster_backend
from training.bit_planning import share_texel_bits
from training.checkpoint import Checkpoint, damaged
from training.cuda_graphs import CudaGraphs
from training.determinism import repeatable_backends
from training.loss import channel_weights, present_channels, srgb_to_linear
from training.optimizers import Optimizers
from training.rates import decoder_bpp, estimated_bpp, plan_for_bpp
from training.resume import check_same_material
from training.sampler import TileSampler
from training.training_step import TrainingStep
from utils.errors import UsageError, UserError

MAX_GRID_SIDE = 16384
"""Largest side of a 2D texture in Direct3D 12, texels."""
LARGE_SHARE = 0.2
"""Share of a rate above which a decoder goes without weights that depend on the place, unless they are asked for."""
START_BYTES = 24
"""Device memory that starting latents takes, for each value of a texel."""


@dataclass
class Session:
    """Everything the training loop reads and moves on."""

    config: Config
    texture_set: TextureSet
    layout: ModelLayout
    channels: list[int]
    """Canonical numbers of the channels that are present."""
    device: torch.device
    texture: NeuralTexture
    backend: TorchBackend
    backend_note: str
    precision: str
    optimizers: Optimizers
    sampler: TileSampler
    noise_generator: torch.Generator
    loss_weights: torch.Tensor | None
    run_dir: Path | None = None
    iteration: int = 0
    training_time_s: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    lineage: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    """What whoever uses the result should know of the training; goes into the manifest."""

    @property
    def linear_diffuse(self) -> bool:
        """Whether the first three outputs are linear light."""
        return self.layout.diffuse_space == "linear" and self.texture_set.present["diffuse"]

    def noise(self, fraction: float) -> list[float] | None:
        """Return each grid's noise amplitude at a fraction of the run, in feature units; None without rounding."""
        quantize = self.config.quantize
        if not quantize.quantize:
            return None
        return [
            noise_amplitude(fraction, 1, quantize.noise_std, quantize.noise_anneal_fraction, grid.quantize_bits)
            for grid in self.layout.grids
        ]

    def training_step(self, graphs: bool = True) -> TrainingStep:
        """Return the step that trains the backend, with CUDA graphs where `graphs`, device and backend allow them."""
        captures = graphs and self.device.type == "cuda" and self.backend.captures
        if captures and CudaGraphs.failed:
            say("note", "training goes on without CUDA graphs, which have failed before in this process")
            captures = False
        return TrainingStep(
            self.backend,
            self.optimizers,
            self.sampler.texels,
            self.noise_generator,
            quantize=self.config.quantize.quantize,
            linear_diffuse=self.linear_diffuse,
            loss_weights=self.loss_weights,
            fine=self.sampler.fine,
            capture=CudaGraphs(self.device) if captures else None,
        )

    def host_grids(self) -> list[list[torch.Tensor]]:
        """Return the master values [r, r, F] of every grid's levels on the host; on the CPU they are the grids' own."""
        return [[level.cpu() for level in self.texture.grids.levels(grid)] for grid in range(len(self.layout.grids))]

    def training_state(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return the state of optimisers and backend as named tensors."""
        return {**self.optimizers.state(), **self.backend.state()}

    def restore(self, saved: Checkpoint) -> None:
        """Set the training to the moment of a checkpoint of its layout.

        Raises `KeyError`, `RuntimeError` and the like where the state of the optimisers does not fit.
        """
        self.texture.grids.load(saved.grids)
        load_canonical_weights(self.texture.decoder, saved.network)
        self.sampler.load_state(saved.sampler)
        self.optimizers.load_state(saved.optimizer)
        self.backend.load_state(saved.optimizer)
        self.history, self.iteration = list(saved.history), saved.iteration
        self.training_time_s = saved.training_time_s


def planned_config(config: Config, texture_set: TextureSet) -> Config:
    """Return the settings with the grids that `target_bpp` asks for, if it is set, and their bits shared out.

    The first layer depends on the place in a cell where that fits the rate or, without one, takes no large share of it.
    """
    n_outputs = len(present_channels(texture_set.present))
    size, storage, target = (texture_set.width, texture_set.height), config.export.storage, config.model.target_bpp
    model = config.model
    if target:
        model = plan_for_bpp(model, config.run.preset, *size, target, storage, config.given, n_outputs)
    model = share_texel_bits(model, texture_set)
    if model.linear_order is not None and "position_order" not in config.given:
        # How many features there are, and with them weights, is known only now.
        by_place = dataclasses.replace(model, position_order=config.model.position_order)
        rate = estimated_bpp(model_layout(by_place, *size), storage, n_outputs)
        share = decoder_bpp(by_place, *size, storage, n_outputs) / rate
        fits = rate <= target if target else share <= LARGE_SHARE
        model = by_place if fits else dataclasses.replace(model, position_order=0)
    return dataclasses.replace(config, model=model)


def checked_layout(config: Config, texture_set: TextureSet) -> ModelLayout:
    """Lay out the model; raises `UsageError` where a grid is larger than GPUs take."""
    layout = model_layout(config.model, texture_set.width, texture_set.height)
    for index, grid in enumerate(layout.grids):
        if grid.max_resolution > MAX_GRID_SIDE:
            raise UsageError(
                f"grid {index} has max_resolution {grid.max_resolution}, GPUs take {MAX_GRID_SIDE} at "
                "most; lower max_resolution or raise texels_per_cell"
            )
    return layout


def open_session(
    config: Config, texture_set: TextureSet, resumed: Checkpoint | None = None, resumed_path: Path | None = None
) -> Session:
    """Set a training up, from the start or from a checkpoint; raises `UsageError` where settings do not fit.

    `config` is what `planned_config` gives. Nothing is written.
    """
    settings, device = config.train, choose_device(config.train.device)
    if resumed and resumed_path:
        check_same_material(resumed, texture_set, resumed_path)
        if not settings.time_budget and resumed.iteration >= settings.max_iter:
            raise UsageError(
                f"{resumed_path} has done {resumed.iteration} iterations, max_iter is "
                f"{settings.max_iter}; raise --max_iter, the absolute end"
            )
        if settings.time_budget and resumed.training_time_s >= settings.time_budget:
            raise UsageError(
                f"{resumed_path} has used {resumed.training_time_s:.1f} s of the time_budget "
                f"{settings.time_budget:g}; raise --time_budget"
            )
    layout = checked_layout(config, texture_set)
    channels = present_channels(texture_set.present)
    try:
        weights = channel_weights(settings.texture_loss_weights, texture_set.present)
    except ValueError as error:
        raise UsageError(f"texture_loss_weights: {error}; give one of them a weight above 0") from error
    if not 0 <= settings.seed < 1 << 64:
        raise UsageError(f"seed is {settings.seed}; give 0 or more, below 2^64")
    names, note = usable_backends(settings.backend, device, layout)
    if settings.deterministic:
        names, why = repeatable_backends(names, device)
        note = why or note
    if resumed and resumed.backend in names:
        names = [resumed.backend]
    if len(names) > 1:

        def try_backend(name: str) -> Session:
            trial = dataclasses.replace(settings, backend=name, start="random")  # type: ignore[arg-type]
            return open_session(dataclasses.replace(config, train=trial), texture_set)

        backend_name, note = faster_backend(names, config, try_backend)
    else:
        backend_name = names[0]
    if device.type != "cpu":
        note = f"{note or backend_name}; {EXPERIMENTAL}"
    precision = _precision(config, layout, device, backend_name, resumed)
    generator = torch.Generator().manual_seed(settings.seed)
    texture = NeuralTexture(layout, channels, device, generator)
    backend = make_backend(backend_name, texture, precision)
    optimizers = Optimizers(texture, settings.optimizer, settings.learning_rate or LEARNING_RATES[settings.optimizer])
    sampler = TileSampler(
        texture_set,
        layout,
        channels,
        batch_size=settings.batch_size,
        tile_size=settings.tile_size,
        mip_floor=settings.mip_floor,
        seed=settings.seed,
        device=device,
    )
    session = Session(
        config,
        texture_set,
        layout,
        channels,
        device,
        texture,
        backend,
        note,
        precision,
        optimizers,
        sampler,
        torch.Generator(device).manual_seed(settings.seed),
        None if weights is None else weights.to(device),
    )
    if resumed and resumed_path:
        _restore(session, resumed, resumed_path)
    elif settings.start in ("auto", "transform") and starts_as_transform(config.model):
        with full_float32():
            images = _start_images(sampler, on_host=settings.deterministic)
            TransformStart(texture, generator)(_as_outputs(images, session.linear_diffuse))
    elif settings.start != "random":
        with full_float32():
            images = _start_images(sampler, on_host=settings.deterministic)
            texture.grids.load(initial_grids(layout, images, generator))
    return session


def _as_outputs(images: Iterator[torch.Tensor], linear_diffuse: bool) -> Iterator[torch.Tensor]:
    """Yield texels as the network is to give them: float32, diffuse in linear light where its output is."""
    for image in images:
        values = image.float() / 255
        if linear_diffuse:
            values[..., :3] = srgb_to_linear(values[..., :3])
        yield values


def _precision(
    config: Config, layout: ModelLayout, device: torch.device, backend_name: str, resumed: Checkpoint | None
) -> str:
    """Return the arithmetic of the decoder while training."""
    if config.train.precision == "auto" and resumed and resumed.backend == backend_name:
        return resumed.precision
    if config.train.precision == "auto" and backend_name == "tcnn" and network_type(layout)[0] != "torch":
        # Stands for half precision there, the only one that most builds of tiny-cuda-nn have for networks.
        return "bfloat16"
    return choose_precision(config.train.precision, device, layout)


def _restore(session: Session, saved: Checkpoint, path: Path) -> None:
    """Set a session to the moment of a checkpoint; raises `UserError` where its state of the training does not fit."""
    try:
        session.restore(saved)
    except KeyError as error:
        raise UserError(damaged(path, f"its optimizer state has no {error.args[0]}")) from error
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(damaged(path, "its optimizer state does not fit its settings")) from error
    if saved.noise_rng.numel() == session.noise_generator.get_state().numel():
        try:
            session.noise_generator.set_state(saved.noise_rng)
        except (RuntimeError, TypeError) as error:
            raise UserError(damaged(path, "noise_rng is no state of a generator")) from error
    session.lineage = [*saved.lineage, str(path.parent.parent.parent)]


def _start_images(sampler: TileSampler, on_host: bool) -> Iterator[torch.Tensor]:
    """Yield the mips' texels where latents are to be started from: on the device if it has room for it, or the host.

    `on_host`: there in any case, since how much room there is may differ from run to run.
    """
    for mip in range(len(sampler.sizes)):
        texels = sampler.mip_texels(mip)
        full = (
            on_host
            or texels.device.type == "cuda"
            and torch.cuda.mem_get_info(texels.device)[0] < START_BYTES * texels.numel()
        )
        # Apple's GPUs cannot average areas of sizes that do not divide.
        if full or texels.device.type == "mps":
            texels = texels.cpu()
        yield texels
