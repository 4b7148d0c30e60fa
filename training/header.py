"""What a run says at its start: where its settings come from, what is trained, on what, and what will read it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import torch

from configs import (
    GRID_FLAGS,
    N_CHANNELS,
    Config,
    ExportConfig,
    HashGridConfig,
    ModelConfig,
    early_stop_acts,
    effective_early_stop_interval,
)
from dataset import TextureSet
from model.layout import ModelLayout, model_layout
from reporting.console import say
from reporting.summary import map_label
from training.combinations import ineffective, ineffective_on_material
from training.exporting import plugin_obstacles
from training.rates import NEAR, estimated_bpp
from training.session import Session


def bits_in_words(bits: Sequence[int]) -> str:
    """Return the bits of features in a few words.

    >>> bits_in_words([4, 4]), bits_in_words([4, 2, 2, 1])
    ('4 bits', '4 to 1 bits, 9 in all')
    """
    if len(set(bits)) == 1:
        return f"{bits[0]} bit{'s' * (bits[0] > 1)}"
    return f"{max(bits)} to {min(bits)} bits, {sum(bits)} in all"


def note_ineffective(config: Config) -> None:
    """Print which settings were given by hand and have no effect."""
    for line in ineffective(config):
        say("note", line)


def describe(session: Session) -> None:
    """Print what is about to be trained."""
    config, texture_set, layout = session.config, session.texture_set, session.layout
    for notice in texture_set.notices:
        say("note", notice)
    # A batch says it once, before its materials.
    if not config.run.groups_batching:
        note_ineffective(config)
    for line in ineffective_on_material(
        config, texture_set.present, texture_set.width, texture_set.height, layout.mips
    ):
        say("note", line)
    if session.lineage:
        say("resumed", f"from {session.lineage[-1]} at iteration {session.iteration}")
    if config.run.config:
        say("settings", f"of {config.run.config}, flags laid over them")
    say(
        "material",
        f"{texture_set.name}, {texture_set.width} x {texture_set.height}, {layout.mips} mips: "
        + ", ".join(map_label(name, facts) for name, facts in texture_set.map_facts.items()),
    )
    mask = texture_set.mask_for(layout.wrap)
    if mask:
        say("mask", mask.line)
    if session.sampler.fine:
        values = session.sampler.fine.values
        say(
            "depth",
            f"{', '.join(texture_set.fine)} trained beyond 8 bits, which takes "
            f"{4 * values.numel():,} bytes of memory more",
        )
    for index, grid in enumerate(layout.grids):
        say(
            f"grid {index}",
            f"{grid.max_resolution} x {grid.max_resolution}, {grid.n_levels} levels, "
            f"{grid.n_features} features of {bits_in_words(grid.bits)}, {grid.interpolation}",
        )
    say(
        "decoder",
        f"{layout.n_inputs} inputs, {layout.n_hidden_layers} x {layout.n_neurons} "
        f"{config.model.activation}, {layout.n_weights} weights, {layout.macs_per_texel} "
        "multiply-adds",
    )
    if config.model.target_bpp:
        say("rate", planned_rate(layout, config.model.target_bpp, config.export.storage, len(session.channels)))
    elif config.model.target_psnr:
        rate = estimated_bpp(layout, config.export.storage, len(session.channels))
        say("rate", f"about {rate:.2f} bits per texel, for a target_psnr of {config.model.target_psnr:g} dB")
    say("UE5 plugin", plugin_forecast(config, layout, texture_set))
    say(
        "training on",
        f"{session.device} with backend {session.backend.name}, {session.backend.arithmetic}, "
        f"{torch.get_num_threads()} threads",
    )
    if session.backend_note:
        say("backend", session.backend_note)
    if config.train.deterministic:
        say("deterministic", f"the same bytes again on this machine, with as many threads: {torch.get_num_threads()}")
    say("ends after", planned_end(config))
    say("run folder", session.run_dir)


def planned_end(config: Config) -> str:
    """Return what ends a run: the clock, or its iterations and stalling."""
    train = config.train
    if train.time_budget:
        return f"{train.time_budget:g} s"
    interval = effective_early_stop_interval(config)
    return f"{train.max_iter} iterations" + (
        f", or when PSNR stalls over {interval}" if early_stop_acts(train) and 2 * interval < train.max_iter else ""
    )


def planned_rate(layout: ModelLayout, target: float, storage: str, n_outputs: int = N_CHANNELS) -> str:
    """Return the estimated rate of a planned model beside the one that was asked for, bits per texel."""
    rate = estimated_bpp(layout, storage, n_outputs)
    short = ""
    if rate < NEAR[0] * target:
        short = (
            "; that is the most that fits, since a grid's side comes in steps and all grids are scaled alike"
            if layout.linear is None
            else "; more would leave cells that are no whole texels, which give less, or does not fit"
        )
    return f"about {rate:.2f} bits per texel, {target:.4g} asked{short}"


def plugin_forecast(config: Config, layout: ModelLayout, texture_set: TextureSet) -> str:
    """Return whether the UE5 plugin will read the export, and where not, what would be read.

    What keeps it from reading is named for the preset that is made for it; the end of every run lists all of it.
    """
    obstacles = _obstacles(config, layout)
    if not obstacles:
        return "will read the exported files"
    if config.run.preset != "ue5":
        return f"will not read the files of preset {config.run.preset}; --preset ue5 is read"
    return f"will not read the exported files: {'; '.join(obstacles)}; {_cure(config, obstacles, texture_set)}"


def _obstacles(config: Config, layout: ModelLayout) -> list[str]:
    return plugin_obstacles(layout, config.export.storage)


def _cure(config: Config, obstacles: list[str], texture_set: TextureSet) -> str:
    """Name the preset that the plugin reads, without those settings given by hand that are in its way."""

    def remaining(names: Iterable[str]) -> int:
        """How many obstacles are left where settings go back to their defaults."""
        plain = _without(config, names)
        return len(_obstacles(plain, model_layout(plain.model, texture_set.width, texture_set.height)))

    given = sorted(config.given)
    culprits = [name for name in given if remaining([name]) < len(obstacles)]
    if remaining(culprits):
        # Some are in the way together: either alone leaves as many obstacles. All go, but those that do no harm.
        culprits, least = given, remaining(given)
        for name in given:
            others = [other for other in culprits if other != name]
            if remaining(others) <= least:
                culprits = others
    flags = ", ".join(f"--{name}" for name in culprits)
    return "--preset ue5 " + (f"without {flags} " if flags else "") + "is read"


def _without(config: Config, names: Iterable[str]) -> Config:
    """Return the settings with the defaults for those that are of the model or the export."""
    model, export = config.model, config.export
    # The grids first: what is set for all of them is laid over them.
    for name in sorted(names, key=lambda name: name != "hash_grid_configs"):
        if name in GRID_FLAGS:
            default = {GRID_FLAGS[name]: getattr(HashGridConfig(), GRID_FLAGS[name])}
            grids = [dataclasses.replace(grid, **default) for grid in model.hash_grid_configs]
            model = dataclasses.replace(model, hash_grid_configs=grids)
        elif name == "hash_grid_configs":
            first = model.hash_grid_configs[0]
            held = {field: getattr(first, field) for flag, field in GRID_FLAGS.items() if flag in config.given}
            grids = [dataclasses.replace(grid, **held) for grid in ModelConfig().hash_grid_configs]
            model = dataclasses.replace(model, hash_grid_configs=grids)
        elif hasattr(model, name):
            model = dataclasses.replace(model, **{name: getattr(ModelConfig(), name)})
        elif hasattr(export, name):
            export = dataclasses.replace(export, **{name: getattr(ExportConfig(), name)})
    return dataclasses.replace(config, model=model, export=export)
