"""One training in progress: what it works on, how far it is, and its checkpoints."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from configs import Config
from dataset import TextureSet
from model.backends.choose import choose_device, choose_precision, make_backend, usable_backends
from model.backends.precision import full_float32
from model.backends.tcnn_layout import decoder_kind
from model.backends.torch_backend import TorchBackend
from model.grids.initial import initial_grids
from model.layout import ModelLayout, model_layout
from quantize import noise_amplitude
from reporting.console import say
from training.checkpoint import Checkpoint
from training.graphed_step import CudaGraphs, GraphedStep
from training.loss import channel_weights, present_channels
from training.rates import plan_for_bpp
from training.sampler import TileSampler
from utils.errors import UsageError, UserError

MAX_GRID_SIDE = 16384
"""Largest side of a 2D texture in Direct3D 12, texels."""
START_BYTES = 24
"""Device memory that starting latents takes, for each value of a texel."""
TRIAL_S, TRIAL_STEPS = 0.5, 20
"""Time for which backends are tried, seconds, and steps between looks at the clock."""


@dataclass
class Session:
    """Everything the training loop reads and moves on."""

    config: Config
    texture_set: TextureSet
    layout: ModelLayout
    channels: list[int]
    """Canonical numbers of the channels that are present."""
    device: torch.device
    backend: TorchBackend
    backend_note: str
    precision: str
    sampler: TileSampler
    noise_generator: torch.Generator
    loss_weights: torch.Tensor | None
    run_dir: Path | None = None
    iteration: int = 0
    training_time_s: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    lineage: list[str] = field(default_factory=list)

    @property
    def linear_diffuse(self) -> bool:
        """Whether the first three outputs are linear light."""
        return self.layout.diffuse_space == "linear" and self.texture_set.present["diffuse"]

    def noise(self, fraction: float) -> list[float] | None:
        """Return each grid's noise amplitude at a fraction of the run, in feature units; None without rounding."""
        quantize = self.config.quantize
        if not quantize.quantize:
            return None
        return [noise_amplitude(fraction, 1, quantize.noise_std, quantize.noise_anneal_fraction, grid.quantize_bits)
                for grid in self.layout.grids]

    def training_step(self, graphs: bool = True) -> GraphedStep:
        """Return the step that trains the backend, with CUDA graphs where `graphs`, device and backend allow them."""
        captures = graphs and self.device.type == "cuda" and self.backend.captures
        if captures and CudaGraphs.failed:
            say("note", "training goes on without CUDA graphs, which have failed before in this process")
            captures = False
        return GraphedStep(self.backend, self.sampler.texels, self.noise_generator,
                           quantize=self.config.quantize.quantize, linear_diffuse=self.linear_diffuse,
                           loss_weights=self.loss_weights,
                           capture=CudaGraphs(self.device) if captures else None)

    def grid_arrays(self) -> list[list[np.ndarray]]:
        """Return the master values of every grid level on the host."""
        return [[level.detach().cpu().numpy() for level in levels] for levels in self.backend.grids]


def check_same_material(saved: Checkpoint, texture_set: TextureSet, path: Path) -> None:
    """Raise `UsageError` where a checkpoint was trained on a material of another size or other maps."""
    found, expected = (texture_set.width, texture_set.height), (saved.width, saved.height)
    if found != expected:
        raise UsageError(f"data_dir holds a {found[0]} x {found[1]} material, {path} was trained on "
                         f"{expected[0]} x {expected[1]}; give the data_dir it was trained on")
    if texture_set.present != saved.present:
        raise UsageError(f"data_dir holds the maps {', '.join(k for k, v in texture_set.present.items() if v)}, {path} "
                         f"was trained on {', '.join(k for k, v in saved.present.items() if v)}; "
                         "give the data_dir it was trained on")


def planned_config(config: Config, texture_set: TextureSet) -> Config:
    """Return the settings with the grids that `target_bpp` asks for, if it is set."""
    if not config.model.target_bpp:
        return config
    model = plan_for_bpp(config.model, config.run.preset, texture_set.width, texture_set.height,
                         config.model.target_bpp, config.export.storage, config.given)
    return dataclasses.replace(config, model=model)


def checked_layout(config: Config, texture_set: TextureSet) -> ModelLayout:
    """Lay out the model; raises `UsageError` where a grid is larger than GPUs take."""
    layout = model_layout(config.model, texture_set.width, texture_set.height)
    for index, grid in enumerate(layout.grids):
        if grid.max_resolution > MAX_GRID_SIDE:
            raise UsageError(f"grid {index} has max_resolution {grid.max_resolution}, GPUs take {MAX_GRID_SIDE} at "
                             "most; lower max_resolution or raise texels_per_cell")
    return layout


def open_session(config: Config, texture_set: TextureSet, resumed: Checkpoint | None = None,
                 resumed_path: Path | None = None) -> Session:
    """Set a training up, from the start or from a checkpoint; raises `UsageError` where settings do not fit.

    `config` is what `planned_config` gives. Nothing is written.
    """
    settings, device = config.train, choose_device(config.train.device)
    if resumed:
        check_same_material(resumed, texture_set, resumed_path)
        if not settings.time_budget and resumed.iteration >= settings.max_iter:
            raise UsageError(f"{resumed_path} has done {resumed.iteration} iterations, max_iter is "
                             f"{settings.max_iter}; raise --max_iter, the absolute end")
        if settings.time_budget and resumed.training_time_s >= settings.time_budget:
            raise UsageError(f"{resumed_path} has used {resumed.training_time_s:.1f} s of the time_budget "
                             f"{settings.time_budget:g}; raise --time_budget")
    layout = checked_layout(config, texture_set)
    channels = present_channels(texture_set.present)
    try:
        weights = channel_weights(settings.texture_loss_weights, texture_set.present)
    except ValueError as error:
        raise UsageError(f"texture_loss_weights: {error}; give one of them a weight above 0") from error
    if not 0 <= settings.seed < 1 << 64:
        raise UsageError(f"seed is {settings.seed}; give 0 or more, below 2^64")
    names, note = usable_backends(settings.backend, device, layout)
    if resumed and resumed.backend in names:
        names = [resumed.backend]
    backend_name, note = faster_backend(config, texture_set, names) if len(names) > 1 else (names[0], note)
    if resumed and settings.precision == "auto" and resumed.backend == backend_name:
        precision = resumed.precision
    elif settings.precision == "auto" and backend_name == "tcnn" and decoder_kind(layout)[0] != "torch":
        # Stands for half precision there, the only one that most builds of tiny-cuda-nn have for networks.
        precision = "bfloat16"
    else:
        precision = choose_precision(settings.precision, device, layout)
    generator = torch.Generator().manual_seed(settings.seed)
    backend = make_backend(backend_name, layout, channels, device, precision, generator)
    backend.make_optimizers(settings.optimizer, settings.learning_rate)
    sampler = TileSampler(texture_set, layout, channels, batch_size=settings.batch_size, tile_size=settings.tile_size,
                          mip_floor=settings.mip_floor, seed=settings.seed, device=device)
    session = Session(config, texture_set, layout, channels, device, backend, note, precision, sampler,
                      torch.Generator(device).manual_seed(settings.seed),
                      None if weights is None else weights.to(device))
    if resumed:
        backend.load_grids(resumed.grids)
        backend.load_network(resumed.network)
        backend.load_optimizer_state(resumed.optimizer)
        sampler.load_state(resumed.sampler)
        if resumed.noise_rng.numel() == session.noise_generator.get_state().numel():
            session.noise_generator.set_state(resumed.noise_rng)
        session.history, session.iteration = list(resumed.history), resumed.iteration
        session.training_time_s = resumed.training_time_s
        session.lineage = [*resumed.lineage, str(resumed_path.parent.parent.parent)]
    elif settings.start == "pca":
        with full_float32():
            backend.load_grids(initial_grids(layout, _start_images(sampler), generator))
    return session


def _start_images(sampler: TileSampler) -> Iterator[torch.Tensor]:
    """Yield the mips' texels where latents are to be started from: on the device if it has room for it, or the host."""
    for mip in range(len(sampler.sizes)):
        texels = sampler.mip_texels(mip)
        if texels.device.type == "cuda" and torch.cuda.mem_get_info(texels.device)[0] < START_BYTES * texels.numel():
            texels = texels.cpu()
        yield texels


def faster_backend(config: Config, texture_set: TextureSet, names: list[str]) -> tuple[str, str]:
    """Train for a moment with each of the backends; returns the fastest one and a line that says how fast they are.

    One that fails is out, unless all do. Models that are alike are tried once in a process, on the first material.
    """
    alike = (*names, config.train.device, config.train.precision, config.train.batch_size, config.train.tile_size,
             config.model.n_neurons, config.model.n_hidden_layers, config.model.activation,
             len(config.model.hash_grid_configs))
    if alike not in _faster:
        rates, failures = {}, {}
        for name in names:
            try:
                settings = dataclasses.replace(config.train, backend=name, start="random")
                rates[name] = _steps_per_second(open_session(dataclasses.replace(config, train=settings), texture_set))
            except (RuntimeError, UserError) as error:
                # Its frames would keep the session and its memory.
                failures[name] = error.with_traceback(None)
            if torch.cuda.is_available() and not CudaGraphs.failed:
                torch.cuda.empty_cache()
        if not rates:
            raise failures[names[0]]
        best = max(rates, key=rates.get)
        others = [f"{name} {rate:.0f}" for name, rate in rates.items() if name != best]
        failed = [f"{name} fails: {' '.join(str(error).split())}" for name, error in failures.items()]
        _faster[alike] = best, f"{best}: {'; '.join([', '.join([f'{rates[best]:.0f} steps/s', *others]), *failed])}"
    return _faster[alike]


_faster: dict[tuple, tuple[str, str]] = {}


def _steps_per_second(session: Session) -> float:
    """Train for `TRIAL_S` to warm up, then for as long to count; the session is of no use afterwards."""
    step = session.training_step()
    for _ in range(2):
        count, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < TRIAL_S:
            for _ in range(TRIAL_STEPS):
                loss = step(*session.sampler.draw(), session.noise(0.0), 1.0)
            # Reading it waits for the device.
            loss.item()
            count += TRIAL_STEPS
    session.backend.release()
    return count / elapsed
