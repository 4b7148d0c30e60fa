"""A texture that begins as a transform coder: latents, curves and linear decoder in closed form, the network as nothing.

Blended grids come first, with the principal components of the channels; gathered ones share the block transform of what is
left, a feature for each component (`model.transform`). The linear decoder then is the inverse transform: a texel takes
the block of the tap that is nearest to it. Where cells are whole texels, least squares on the rounded features make it a
lapped one. Coarser mips are the same transform of their own texels. The network's last layer begins as the mean colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from configs import ModelConfig
from model.decoder.linear import blended_columns
from model.grids.feature_grids import along_curve
from model.grids.layout import FeatureLayout
from model.grids.taps import cell_basis
from model.texture import NeuralTexture
from model.transform import (
    MOST_BITS,
    Transform,
    block_transform,
    component_errors,
    cut_blocks,
    features_on_curves,
    fit_curves,
    resized,
    share_bits,
)
from quantize import quantize_ste

_FIT_CELLS = 1 << 16
"""Cells that the least squares of the linear decoder look at."""
_RIDGE = 1e-6


def transform_side(layout: FeatureLayout) -> int:
    """Return the texels per side of the blocks that the transform works on: what the linear order can tell apart."""
    return (layout.linear_order or 0) + 1


def component_of_feature(bits: Sequence[int], shared: Sequence[int]) -> list[int]:
    """Return which component each feature holds: those that were given as many bits, else the next by variance.

    `shared`: what `share_bits` gives each component, for the same bits in all.

    >>> component_of_feature([2, 1, 3], [3, 0, 2, 1])
    [2, 3, 0]
    """
    free: dict[int, list[int]] = {}
    for index, count in enumerate(shared):
        free.setdefault(count, []).append(index)
    result = [free[count].pop(0) if free.get(count) else -1 for count in bits]
    rest = iter(sorted(index for indices in free.values() for index in indices))
    for feature in sorted((f for f, index in enumerate(result) if index < 0), key=lambda f: -bits[f]):
        result[feature] = next(rest)
    return result


@dataclass
class _GatheredPart:
    """One gathered grid's share of a block transform."""

    transform: Transform
    vectors: torch.Tensor
    """[K, F]."""
    curves: torch.Tensor

    def features(self, image: torch.Tensor, resolution: int, bits: Sequence[int]) -> torch.Tensor:
        blocks = cut_blocks(image, resolution, self.transform.side)
        coefficients = blocks @ self.vectors.to(blocks.device)
        return features_on_curves(coefficients, self.curves, bits).view(resolution, resolution, -1)


@dataclass
class _BlendedPart:
    """One blended grid's channels, transformed."""

    vectors: torch.Tensor
    """[C, F]."""
    curves: torch.Tensor

    def features(self, image: torch.Tensor, resolution: int, bits: Sequence[int]) -> torch.Tensor:
        values = resized(image, resolution, resolution).reshape(resolution * resolution, -1) @ self.vectors
        return features_on_curves(values, self.curves, bits).view(resolution, resolution, -1)


class TransformStart:
    """Sets a texture to the closed form of a material."""

    def __init__(self, texture: NeuralTexture, generator: torch.Generator) -> None:
        """`texture` must have a linear decoder, curves and biases."""
        self.texture, self.layout, self.generator = texture, texture.layout, generator
        self.parts: dict[int, _GatheredPart | _BlendedPart] = {}

    @torch.no_grad()
    def __call__(self, mips: Iterable[torch.Tensor]) -> None:
        """Set grids, curves and decoder from the mips' texels, float32 [H, W, C] in the coding of the outputs."""
        layout, levels_done = self.layout, [set[int]() for _ in self.layout.grids]
        mean = torch.zeros(0)
        for mip, image in enumerate(mips):
            if mip == 0:
                mean = image.mean((0, 1))
            image = image - mean
            residual = image
            for index in self._order():
                grid = layout.grids[index]
                level = grid.level_of_mip(mip)
                if index not in self.parts:
                    self._fit(index, residual, grid.resolution(level))
                if level not in levels_done[index]:
                    levels_done[index].add(level)
                    values = self.parts[index].features(residual, grid.resolution(level), grid.bits)
                    self.texture.grids.levels(index)[level].copy_(values)
                if not grid.gathered:
                    residual = residual - self._blended(index, level, residual.shape)
            if mip == 0:
                self._set_linear()
                self._lap(image)
        self._set_network(mean)

    def _order(self) -> list[int]:
        """Grids, blended ones first and coarse before fine."""
        grids = self.layout.grids
        return sorted(range(len(grids)), key=lambda g: (grids[g].gathered, grids[g].max_resolution, g))

    def _fit(self, index: int, image: torch.Tensor, resolution: int) -> None:
        """Find a grid's transform and curves, and those of all gathered grids of its resolution with it."""
        grid = self.layout.grids[index]
        if not grid.gathered:
            pixels = resized(image, resolution, resolution).reshape(resolution * resolution, -1)
            _, vectors = torch.linalg.eigh((pixels.t() @ pixels).double().cpu())
            vectors = vectors.flip(1).float().to(pixels.device)
            padded = torch.zeros(len(vectors), grid.n_features, device=pixels.device)
            count = min(vectors.shape[1], grid.n_features)
            padded[:, :count] = vectors[:, :count]
            curves = self._curves((pixels @ padded).cpu(), grid.bits)
            self.parts[index] = _BlendedPart(padded, curves)
            return
        alike = [
            g
            for g, other in enumerate(self.layout.grids)
            if other.gathered and other.max_resolution == grid.max_resolution
        ]
        side = transform_side(self.layout)
        blocks = cut_blocks(image, resolution, side)
        transform = block_transform(blocks, side, self.generator)
        bits = [count for g in alike for count in self.layout.grids[g].bits]
        most = min(transform.vectors.shape[1], len(bits) + 16)
        coefficients = blocks.cpu() @ transform.vectors[:, :most]
        errors = component_errors(coefficients, self.generator)
        shared = share_bits(errors, sum(bits))
        # More features than components: the last ones hold nothing.
        shared += [0] * max(len(bits) - len(shared), 0)
        chosen = component_of_feature(bits, shared)
        first = 0
        for g in alike:
            count = self.layout.grids[g].n_features
            vectors = torch.zeros(len(transform.vectors), count)
            for feature, component in enumerate(chosen[first : first + count]):
                if component < transform.vectors.shape[1]:
                    vectors[:, feature] = transform.vectors[:, component]
            curves = self._curves(blocks.cpu() @ vectors, self.layout.grids[g].bits)
            self.parts[g] = _GatheredPart(transform, vectors, curves)
            first += count

    def _curves(self, values: torch.Tensor, bits: Sequence[int]) -> torch.Tensor:
        """Return the curve [F, 4] of each column of values for its bits."""
        curves = torch.zeros(len(bits), 4)
        for count in sorted(set(bits)):
            columns = [feature for feature, own in enumerate(bits) if own == count]
            curves[columns] = fit_curves(values[:, columns], min(count, MOST_BITS), self.generator)[0]
        return curves

    def _blended(self, index: int, level: int, shape: torch.Size) -> torch.Tensor:
        """Return what a blended grid's rounded level gives over an image of `shape`."""
        part = self.parts[index]
        grid = self.layout.grids[index]
        values = quantize_ste(self.texture.grids.levels(index)[level], self.texture.grids.bits(index))
        values = along_curve(values, part.curves.to(values.device)) @ part.vectors.t()
        planes = values.permute(2, 0, 1)[None]
        # One texel more on every side, so that the sampler wraps or clamps as the grid does.
        planes = torch.nn.functional.pad(planes, (1, 1, 1, 1), mode="circular" if self.layout.wrap else "replicate")
        places = _places(shape[0], shape[1], grid.resolution(level), planes.device)
        image = torch.nn.functional.grid_sample(planes, places, mode="bilinear", align_corners=False)
        return image[0].permute(1, 2, 0)

    def _set_linear(self) -> None:
        """Set curves and linear decoder to the inverse transform."""
        decoder, side = self.texture.decoder, transform_side(self.layout)
        assert decoder.linear is not None
        places = ((np.arange(side) + 0.5) / side).astype(np.float32)
        basis = torch.from_numpy(cell_basis(places, places, self.layout.linear_order or 0)).double()
        for index, part in self.parts.items():
            decoder.curves[index].copy_(part.curves)
            columns = decoder.linear[:, self.layout.linear_columns[index]]
            if isinstance(part, _BlendedPart):
                columns.copy_(part.vectors)
                continue
            out, features = len(decoder.linear), part.vectors.shape[1]
            blocks = part.vectors.view(side, side, out, features)
            of_places = torch.zeros(side, side, 4, out, features)
            near = (side + 1) // 2
            for y in range(side):
                for x in range(side):
                    tap = 2 * (y >= near) + (x >= near)
                    by, bx = ((place + side // 2) % side for place in (y, x))
                    of_places[y, x, tap] = blocks[by, bx]
            # As many functions as places: the weights at the places say all.
            weights = torch.linalg.solve(basis, of_places.view(side * side, -1).double()).float()
            weights = weights.view(side * side, 4, out, features).permute(2, 0, 1, 3)
            columns.copy_(weights.reshape(out, -1))

    def _lap(self, image: torch.Tensor) -> None:
        """Fit the linear decoder of gathered grids to the finest mip by least squares, for the features as they are rounded.

        Only where a cell has as many texels as the linear order can tell apart.
        """
        layout, decoder, side = self.layout, self.texture.decoder, transform_side(self.layout)
        gathered = [g for g, grid in enumerate(layout.grids) if grid.gathered]
        resolutions = {layout.grids[g].resolution_of_mip(0) for g in gathered}
        if len(resolutions) != 1 or image.shape[:2] != (resolutions.copy().pop() * side,) * 2 or side % 2:
            return
        resolution = resolutions.pop()
        target = image
        for g, grid in enumerate(layout.grids):
            if not grid.gathered:
                target = target - self._blended(g, grid.level_of_mip(0), image.shape)
        # Cells begin half a block after the blocks do.
        target = torch.roll(target, (-(side // 2), -(side // 2)), (0, 1))
        rows = max(1, min(resolution, _FIT_CELLS // resolution))
        stride = resolution // rows
        chosen = torch.arange(0, rows * stride, stride, device=image.device)
        if not layout.wrap:
            chosen = chosen[chosen < resolution - 1]
        columns = resolution if layout.wrap else resolution - 1
        taps = []
        for g in gathered:
            grid = layout.grids[g]
            values = quantize_ste(self.texture.grids.levels(g)[grid.level_of_mip(0)], self.texture.grids.bits(g))
            values = along_curve(values, decoder.curves[g])
            for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
                rolled = values[(chosen + dy) % resolution]
                taps.append(torch.roll(rolled, -dx, 1)[:, :columns].reshape(len(chosen) * columns, -1))
        inputs = torch.cat(taps, 1)
        cells = target.view(resolution, side, resolution, side, -1)[chosen][:, :, :columns]
        outputs = cells.permute(0, 2, 1, 3, 4).reshape(len(inputs), -1)
        normal = (inputs.t() @ inputs).double()
        normal += torch.eye(len(normal), dtype=torch.float64, device=normal.device) * (
            _RIDGE * normal.diagonal().mean()
        )
        try:
            solution = torch.linalg.solve(normal, (inputs.t() @ outputs).double())
        except torch.linalg.LinAlgError:
            return
        out = image.shape[2]
        places = ((np.arange(side) + 0.5) / side).astype(np.float32)
        basis = torch.from_numpy(cell_basis(places, places, layout.linear_order or 0)).double().to(solution.device)
        # [taps, places, out] -> by function of the place.
        of_places = solution.view(len(solution), side * side, out).permute(1, 0, 2)
        weights = torch.linalg.solve(basis, of_places.reshape(side * side, -1)).view(side * side, -1, out)
        first = 0
        assert decoder.linear is not None
        for g in gathered:
            count = layout.grids[g].n_inputs
            part = weights[:, first : first + count].permute(2, 0, 1).reshape(out, -1)
            decoder.linear[:, layout.linear_columns[g]] = part.float()
            first += count

    def _set_network(self, mean: torch.Tensor) -> None:
        """Let the network begin as the mean, with first weights of the size that its inputs ask for."""
        decoder, layout = self.texture.decoder, self.layout
        decoder.matrices[-1].zero_()
        decoder.biases[-1].copy_(mean)
        if len(decoder.matrices) == 1:
            return
        for columns, values in self._deviations():
            decoder.matrices[0][:, columns] *= (1 / values.clamp(min=1e-3)).clamp(max=30.0)
        decoder.matrices[0][:, layout.linear_inputs] *= 4.0

    def _deviations(self) -> list[tuple[slice, torch.Tensor]]:
        """Return the root mean square of each grid's inputs of the network, by their columns."""
        result = []
        blended = blended_columns(self.layout)
        for index, grid in enumerate(self.layout.grids):
            values = self.texture.grids.levels(index)[grid.n_levels - 1]
            values = along_curve(values, self.texture.decoder.curves[index])
            size = values.square().sum(-1).mean().sqrt()
            columns = blended[index] if index in blended else self.layout.gathered_columns[index]
            result.append((columns, size))
        return result


def _places(rows: int, columns: int, resolution: int, device: torch.device) -> torch.Tensor:
    """Return where texel centres lie on a level with one more texel on every side, as `grid_sample` counts: [1, H, W, 2]."""
    padded = resolution + 2
    y = ((torch.arange(rows, device=device) + 0.5) / rows * resolution + 1) / padded * 2 - 1
    x = ((torch.arange(columns, device=device) + 0.5) / columns * resolution + 1) / padded * 2 - 1
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)[None].float()


def starts_as_transform(model: ModelConfig) -> bool:
    """Whether a model has all that a closed-form start needs."""
    return model.linear_order is not None and model.feature_curves and model.use_bias
