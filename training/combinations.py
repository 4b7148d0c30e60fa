"""Settings that have no effect beside others: refused where they need another one, else named in a note."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from configs import Config, ConfigError, HashGridConfig, QuantizeConfig, TrainConfig, effective_early_stop_interval

_COMPARED = {"quantize", "optimizer"}
"""Settings outside the model that are compared with those of a checkpoint."""


def refuse_ineffective(config: Config) -> None:
    """Raise `ConfigError`, one line that names both, where a setting given by hand needs another one that is not so."""
    model, given = config.model, config.given
    gathered = any(grid.interpolation == "gather" for grid in model.hash_grid_configs)
    if "position_order" in given and model.position_order and not gathered:
        raise ConfigError(
            f"position_order {model.position_order} has no effect with interpolation bilinear in all "
            "grids; add --interpolation gather, or leave it out"
        )
    for name, none in (("period_cells", None), ("phases", 1)):
        value = getattr(model, name)
        if name in given and value != none and not model.n_frequencies:
            raise ConfigError(
                f"{name} {value} has no effect with n_frequencies 0; give --n_frequencies, or leave it out"
            )
    target = "target_bpp" if model.target_bpp else "target_psnr" if model.target_psnr else None
    if target and "hash_grid_configs" in given:
        for index, grid in enumerate(model.hash_grid_configs):
            if grid.max_resolution:
                raise ConfigError(
                    f"{target} {getattr(model, target):g} chooses the resolutions, but grid {index} of "
                    f"hash_grid_configs has max_resolution {grid.max_resolution}; leave one of them out "
                    f"(--{target} none)"
                )


def ineffective(config: Config) -> list[str]:
    """Return a line for each group of settings that were given by hand and have no effect beside another one."""
    run, model, quantize, train, given = config.run, config.model, config.quantize, config.train, config.given
    lines = []

    def idle(names: set[str], reason: str) -> None:
        found = sorted(names & given)
        if found:
            lines.append(f"{', '.join(found)} {'has' if len(found) == 1 else 'have'} no effect {reason}")

    batch = {"groups_batch_dir", "groups_save_dir", "groups_max_workers", "groups_verbose", "groups_resume"}
    if run.groups_batching:
        idle({"data_dir", "save_dir"}, "with groups_batching: see groups_batch_dir and groups_save_dir")
    else:
        idle(batch, "without groups_batching")
    if config.export.storage == "true_rate" and all(grid.quantize_bits != 4 for grid in model.hash_grid_configs):
        idle({"storage"}, "by true_rate where no grid has quantize_bits 4")
    if run.mode == "infer":
        sections = (QuantizeConfig, TrainConfig)
        idle(
            {field.name for section in sections for field in dataclasses.fields(section)} - _COMPARED - {"device"}
            | {"grid_learning_rate", "report", "compare_astc"},
            "with mode infer",
        )
        idle({"save_dir"}, "with mode infer: results go to <load_dir>/infer")
        return lines
    if (
        any(
            grid.max_resolution and grid.texels_per_cell != HashGridConfig.texels_per_cell
            for grid in model.hash_grid_configs
        )
        and not model.target_bpp
        and not model.target_psnr
    ):
        idle({"hash_grid_configs"}, "by its texels_per_cell where it gives max_resolution")
    if model.n_hidden_layers == 0:
        idle({"activation", "n_neurons"}, "with n_hidden_layers 0")
    if run.load_dir:
        idle({"start"}, "on a run that goes on from a checkpoint")
    stopping = {"early_stop_interval", "early_stop_psnr_threshold"}
    if not train.early_stop:
        idle(stopping, "with early_stop False")
    elif train.time_budget:
        idle({*stopping, "early_stop", "max_iter"}, f"with time_budget {train.time_budget:g}")
    elif 2 * (interval := effective_early_stop_interval(config)) >= train.max_iter:
        idle(stopping, f"where two intervals of {interval} take up max_iter {train.max_iter}")
    if not quantize.quantize:
        idle({"noise_anneal_fraction"} | ({"noise_std"} if quantize.noise_std else set()), "with quantize False")
    elif not quantize.noise_std:
        idle({"noise_anneal_fraction"}, "with noise_std 0")
    return lines


def ineffective_on_material(
    config: Config, present: Mapping[str, bool], width: int, height: int, mips: int
) -> list[str]:
    """Return a line for each setting given by hand that a material of this size and these maps leaves without effect.

    `present`: whether a map is there, by type.
    """
    train, given = config.train, config.given
    lines = []
    missing = [name for name in train.texture_loss_weights if not present.get(name)]
    if "texture_loss_weights" in given and missing:
        lines.append(f"texture_loss_weights has no effect for {', '.join(missing)}: the material has no such map")
    if "mip_floor" in given and train.mip_floor > 1 / mips:
        lines.append(f"mip_floor {train.mip_floor:g} is more than {mips} mips can have; it is cut to {1 / mips:.4g}")
    tile_width, tile_height = min(train.tile_size, width), min(train.tile_size, height)
    if given & {"batch_size", "tile_size"} and train.batch_size < tile_width * tile_height:
        lines.append(
            f"batch_size {train.batch_size} has no effect with tile_size {train.tile_size}: a step is at least a "
            f"whole tile, {tile_width} x {tile_height} texels"
        )
    return lines
