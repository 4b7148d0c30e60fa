"""The tiny-cuda-nn backend: grids and decoder by its CUDA kernels, everything else shared with the reference.

Masters, optimisers, checkpoints and exports are `TorchBackend`'s, and so is every evaluation, which runs the reference
in float32: what is reported is what ships. Only the training pass differs. This is the one file that imports
tinycudann, and not before a backend is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import numpy as np
import torch

from model.backends.precision import full_float32, gains_from_bfloat16
from model.backends.tcnn_layout import (
    LossScale,
    SlabTable,
    all_finite,
    decoder_kind,
    encoding_config,
    feature_split,
    flat_weights,
    fuses_at_run_time,
    network_config,
    ring_coordinates,
    spread_cells,
)
from model.backends.torch_backend import TorchBackend, draw_uniform
from model.decoder.activations import ACTIVATIONS
from model.grids.batch_plan import GridPlan, filled, plan_arrays
from model.grids.geometry import AxisTaps, TileGroup, to_device
from model.layout import ModelLayout
from utils.errors import UserError

MOST_TRIAL_ERROR = 0.05
"""Relative error of a network's trial from which on the decoder runs in torch; half precision errs by less than 0.01."""
CURE = "`python -m model.doctor` says how to install it, --backend torch trains without it"


def explain_import_error(error: Exception) -> str:
    """Return one line that says why `import tinycudann` failed."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ModuleNotFoundError) and error.name == "tinycudann":
        return "tinycudann is not installed"
    if "Unknown compute capability" in text:
        return "tinycudann is installed, but PyTorch sees no NVIDIA GPU"
    if "Could not find compatible tinycudann extension" in text:
        return f"tinycudann was built for other GPUs than this one ({text})"
    if any(sign in text for sign in ("undefined symbol", "DLL load failed", "cannot open shared object", "ABI")):
        return f"tinycudann was built against another PyTorch or CUDA ({text})"
    return f"tinycudann cannot be imported ({type(error).__name__}: {text})"


def import_tinycudann() -> ModuleType:
    """Import tinycudann; raises `UserError` with the reason where that fails."""
    try:
        import tinycudann
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise UserError(f"{explain_import_error(error)}; {CURE}") from error
    return tinycudann


def tinycudann_problem() -> str:
    """Return why tinycudann cannot be imported, in one line, or "" where it can."""
    try:
        import_tinycudann()
    except UserError as error:
        return explain_import_error(error.__cause__)
    return ""


class _ScaleGradient(torch.autograd.Function):
    """Identity whose gradient is multiplied by a 0-dim tensor."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.factor, None


class _ModuleOutput(torch.autograd.Function):
    """A module's output in float32, whose gradient goes back scaled, in the module's dtype and contiguous."""

    @staticmethod
    def forward(ctx, output, factor):
        ctx.factor, ctx.dtype = factor, output.dtype
        return output.float()

    @staticmethod
    def backward(ctx, gradient):
        return (gradient * ctx.factor).to(ctx.dtype).contiguous(), None


class TcnnBackend(TorchBackend):
    """`TorchBackend` whose bilinear grids, and decoder where it can, run in tiny-cuda-nn.

    `precision` float32 keeps the grids in float32 and the decoder in torch; any other trains in tiny-cuda-nn's own
    (half, where it was built with it) with a loss scale, and skips steps whose gradients are not finite.
    """

    name = "tcnn"
    joins_mips = False
    captures = False

    def __init__(self, layout: ModelLayout, channels: list[int], device: torch.device, precision: str,
                 generator: torch.Generator) -> None:
        self.tcnn = import_tinycudann()
        super().__init__(layout, channels, device, precision, generator)
        self.reduced = precision != "float32"
        self.loss_scale = LossScale(device)
        self.rows = torch.tensor(channels, device=device)
        self._encoded: tuple[int, int] | None = None
        with torch.cuda.device(device):
            self.encodings = {(index, level): self._make_encodings(grid, level)
                              for index, grid in enumerate(layout.grids) if grid.interpolation == "bilinear"
                              for level in range(grid.n_levels)}
            self.decoder, self.decoder_note = self._make_decoder()
        if self.decoder is None and not gains_from_bfloat16(device, layout.n_neurons):
            self.dtype = torch.float32

    def _make_encodings(self, grid, level: int) -> list[torch.nn.Module]:
        # Half holds the levels of up to 8 bits exactly, those of 16 bits not. None: what the build prefers.
        dtype = None if self.reduced and grid.quantize_bits <= 8 else torch.float32
        encodings = []
        for part in feature_split(grid.n_features):
            config = encoding_config(grid.resolution(level), part.stop - part.start)
            encodings.append(self._emptied(self.tcnn.Encoding(2, config, dtype=dtype)))
        return encodings

    def _make_decoder(self) -> tuple[torch.nn.Module | None, str]:
        """Return a Network that is known to run here, or None for the layers in torch, and a note on which and why."""
        kind, note = decoder_kind(self.layout)
        columns, rows = self.layout.layers[0].cols, self.layout.layers[-1].rows
        # From RTX 4000 on; on older cards fusing at run time can cost more than it saves.
        fuses = fuses_at_run_time(self.layout) and torch.cuda.get_device_capability(self.device) >= (8, 9) \
            and getattr(self.tcnn, "supports_jit_fusion", lambda: False)()
        kinds = [] if kind == "torch" else dict.fromkeys([kind, "CutlassMLP"])
        for candidate, fused in [(candidate, fused) for candidate in kinds for fused in (True, False)[not fuses:]]:
            try:
                network = self.tcnn.Network(columns, rows, network_config(self.layout, candidate))
                if not self.reduced and network.dtype != torch.float32:
                    return None, "decoder in torch: this tiny-cuda-nn computes networks in half precision"
                if fuses:
                    network.jit_fusion = fused
                self._emptied(network)
                error = self._trial_error(network)
                if error <= MOST_TRIAL_ERROR:
                    return network, f"decoder {candidate}" + (", fused at run time" if fused else "") \
                        + (f": {note}" if note else "")
                note = f"{candidate} errs by {error:.1%} in a trial"
            except RuntimeError as error:
                note = " ".join(str(error).split())
        return None, f"decoder in torch: {note}"

    def _trial_error(self, network: torch.nn.Module) -> float:
        """Return the largest relative error on random numbers, of a network's output and of both its gradients."""
        random = torch.Generator().manual_seed(0)
        layers = self.layout.layers
        weights = torch.cat([torch.randn(layer.rows * layer.cols, generator=random) / layer.cols ** 0.5
                             for layer in layers]).to(self.device).requires_grad_()
        inputs = torch.rand(512, layers[0].cols, generator=random).to(self.device).requires_grad_()
        # Of one sign, so that sums of half-precision terms do not cancel, and as small as a mean's.
        slope = (torch.rand(512, layers[-1].rows, generator=random).to(self.device) + 0.5) / (512 * layers[-1].rows)
        values = inputs
        with full_float32():
            for layer in layers:
                end = layer.offset + layer.rows * layer.cols
                values = values @ weights[layer.offset:end].view(layer.rows, layer.cols).t()
                if layer is not layers[-1]:
                    values = ACTIVATIONS[layer.activation](values)
            expected = [values, *torch.autograd.grad((values * slope).sum(), (weights, inputs))]
        found = self._run(network, weights, inputs)
        found = [found, *torch.autograd.grad((found * slope).sum(), (weights, inputs))]
        scale = self.loss_scale.scale if self.reduced else 1.0
        errors = [(a / by - b).norm() / b.norm() for a, b, by in zip(found, expected, (1.0, scale, scale))]
        return torch.stack(errors).nan_to_num(float("inf")).max().item()

    def _emptied(self, module: torch.nn.Module) -> torch.nn.Module:
        """Drop a module's own parameters: it is always called with others."""
        module.params = torch.nn.Parameter(torch.empty(0, device=self.device), requires_grad=False)
        # Scaling is done around the module, in float32; the bindings would divide again in half and lose the bits.
        module.loss_scale = 1.0
        return module

    def release(self) -> None:
        """Give the memory back that tiny-cuda-nn keeps for its temporaries."""
        self.tcnn.free_temporary_memory()

    @property
    def arithmetic(self) -> str:
        """In which precision the decoder is trained, and by what."""
        half = self.decoder is not None and self.decoder.dtype == torch.float16
        return f"{'half precision' if half else super().arithmetic}, {self.decoder_note}"

    # --- the function -------------------------------------------------------------------------------------------

    def predict(self, groups: list[TileGroup], quantize: bool, noise: list[float] | None = None,
                generator: torch.Generator | None = None, train: bool = True) -> torch.Tensor:
        """Decode the texels of tile groups as `TorchBackend.predict` does; without `train`, by the reference itself."""
        if not train:
            with full_float32():
                return super().predict(groups, quantize, noise, generator, train)
        if self.decoder is None:
            return super().predict(groups, quantize, noise, generator, train)
        inputs, plan = [], self.plan(groups)
        uniform = iter(draw_uniform(self.noise_sizes(plan, noise), self.device, generator))
        for bundle in filled(plan, [to_device(array, self.device) for array in plan_arrays(plan)]):
            shape, parts = bundle.shape, self._encoding(bundle)
            for index, (grid, part) in enumerate(zip(self.layout.grids, bundle.grids)):
                slab = self._slab(index, part, quantize, noise[index] if noise else 0.0, uniform, train)
                if grid.interpolation == "bilinear":
                    parts.append(self._blend(slab, *part.matrices))
                else:
                    parts.append(spread_cells(self._corners(slab), self._spread(part)))
            # The ones of the padding are given: how far a Network pads by itself depends on its kind.
            parts.append(bundle.constants.expand(*shape, -1))
            inputs.append(torch.cat(parts, -1).view(shape[0] * shape[1] * shape[2], -1))
        texels = inputs[0] if len(inputs) == 1 else torch.cat(inputs)
        weights = flat_weights(*self.rounded_network(), self.rows, self.layout.layers)
        output = self._run(self.decoder, self._scaled_back(weights), self._scaled_back(texels))
        return ACTIVATIONS[self.layout.layers[-1].activation](output.index_select(1, self.rows))

    def _run(self, module: torch.nn.Module, parameters: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """Call a module with other parameters; rows are padded to its granularity (256) by the bindings."""
        output = torch.func.functional_call(module, {"params": parameters}, (inputs,))
        return _ModuleOutput.apply(output, self.loss_scale.scale if self.reduced else 1.0)

    def _scaled_back(self, tensor: torch.Tensor) -> torch.Tensor:
        """Divide the loss scale out of the gradient of a module's input, in float32."""
        return _ScaleGradient.apply(tensor, 1 / self.loss_scale.scale) if self.reduced else tensor

    def _slab(self, grid_index: int, part: GridPlan, quantize: bool, noise: float | torch.Tensor,
              uniform: Iterator[torch.Tensor], train: bool) -> torch.Tensor:
        self._encoded = (grid_index, part.level) if train else None
        return super()._slab(grid_index, part, quantize, noise, uniform, train)

    def _blend_arrays(self, resolution: int, x: AxisTaps, y: AxisTaps, train: bool) -> tuple[np.ndarray, np.ndarray]:
        """Encoding inputs of the rows and of the columns; without `train` what the reference needs."""
        if not train:
            return super()._blend_arrays(resolution, x, y, train)
        return ring_coordinates(y, resolution, self.layout.wrap), ring_coordinates(x, resolution, self.layout.wrap)

    def _blend(self, slab: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Blend the slab that `_slab` has just fetched, in tiny-cuda-nn: [B, Ty, Tx, F] float32."""
        if self._encoded is None:
            return super()._blend(slab, rows, columns)
        grid_index, level = self._encoded
        grid = self.layout.grids[grid_index]
        resolution = grid.resolution(level)
        index = self._touches[grid_index][-1][0] - self.offsets[grid_index][level]
        shape = (*rows.shape, columns.shape[1])
        places = torch.stack([columns[:, None].expand(shape), rows[:, :, None].expand(shape)], -1).view(-1, 2)
        texels = self._scaled_back(slab.reshape(-1, grid.n_features))
        parts = []
        for part, encoding in zip(feature_split(grid.n_features), self.encodings[self._encoded]):
            table = SlabTable.apply(texels[:, part], index, resolution, self.layout.wrap, encoding.dtype)
            parts.append(self._run(encoding, table.view(-1), places))
        return (parts[0] if len(parts) == 1 else torch.cat(parts, -1)).view(*shape, grid.n_features)

    # --- the step -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def step(self, lr_scale: float) -> None:
        """Apply the gradients of the last `predict` unless one is not finite; the host does not wait to know."""
        if not self.reduced:
            super().step(lr_scale)
            return
        decoder = [tensor for tensor in [*self.matrices, *self.biases, self.ones] if tensor is not None]
        gradients = [tensor.grad for tensor in decoder]
        for touches in self._touches.values():
            gradients += [slab.grad for _, slab in touches]
        finite = all_finite(gradients)
        decoder += [tensor for optimizer in self.optimizers.values() for tensor in optimizer.state().values()
                    if tensor.device == decoder[0].device]
        before = [tensor.clone() for tensor in decoder]
        rows = []
        for grid, touches in self._touches.items():
            optimizer = self.grid_optimizers[grid]
            index = touches[0][0] if len(touches) == 1 else torch.cat([index for index, _ in touches])
            rows += [(tensor, index, tensor.index_select(0, index))
                     for tensor in (optimizer.values, *optimizer.state().values())]
        super().step(lr_scale)
        for tensor, old in zip(decoder, before):
            tensor.copy_(torch.where(finite, tensor, old))
        for tensor, index, old in rows:
            tensor.index_copy_(0, index, torch.where(finite, tensor.index_select(0, index), old))
        self.loss_scale.update(finite)

    def optimizer_state(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return all optimiser state as named tensors, the loss scale with it."""
        return super().optimizer_state() | {
            "loss_scale": {"scale": self.loss_scale.scale, "good_steps": self.loss_scale.good_steps}}

    def load_optimizer_state(self, state: dict[str, dict[str, torch.Tensor]]) -> None:
        """Restore what `optimizer_state` of either backend gave."""
        super().load_optimizer_state(state)
        if "loss_scale" in state:
            self.loss_scale.scale = state["loss_scale"]["scale"].to(self.device)
            self.loss_scale.good_steps = state["loss_scale"]["good_steps"].to(self.device)
