"""The tiny-cuda-nn backend: grids and decoder by its CUDA kernels, everything else shared with the reference.

Only the training pass differs: parameters and every evaluation are the texture's own, in float32, so that what is
reported is what ships. This is the one file that imports
tinycudann, and not before a backend is made.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from types import ModuleType

import torch

from model.backends.tcnn_layout import (
    LevelTable,
    LossScale,
    all_finite,
    encoding_config,
    feature_split,
    flat_weights,
    fuses_at_run_time,
    network_config,
    network_type,
    ring_coordinates,
)
from model.backends.torch_backend import TorchBackend
from model.decoder.activations import ACTIVATIONS
from model.grids.feature_grids import Features, QuantizationNoise, TouchedTexels
from model.grids.layout import GridLayout
from model.grids.lookup import BilinearLookup, TileLookup, TilePlanner
from model.precision import full_float32, gains_from_bfloat16
from model.texture import NeuralTexture
from utils.errors import UserError

MOST_TRIAL_ERROR = 0.05
"""Relative error of a network's trial from which on the decoder runs in torch; half precision errs by less than 0.01."""
CURE = "`python -m model.doctor` says how to install it, --backend torch trains without it"


def explain_import_error(error: BaseException | None) -> str:
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
    """The training pass with bilinear grids, and the decoder where it can, in tiny-cuda-nn.

    `precision` float32 keeps the grids in float32 and the decoder in torch; any other trains in tiny-cuda-nn's own
    (half, where it was built with it) with a loss scale, and skips steps whose gradients are not finite.
    """

    name = "tcnn"
    captures = False

    def __init__(self, texture: NeuralTexture, precision: str) -> None:
        self.tcnn = import_tinycudann()
        super().__init__(texture, precision)
        self.layout, self.device = texture.layout, texture.device
        self.reduced = precision != "float32"
        self.loss_scale = LossScale(self.device)
        self.rows = torch.tensor(texture.channels, device=self.device)
        # One look-up is of one mip, since an Encoding is of one level.
        self._planner = TilePlanner(self.layout, partial(ring_coordinates, wrap=self.layout.wrap), joins_mips=False)
        with torch.cuda.device(self.device):
            self.encodings = {
                (index, level): self._make_encodings(grid, level)
                for index, grid in enumerate(self.layout.grids)
                if not grid.gathered
                for level in range(grid.n_levels)
            }
            self.network, self.network_note = self._make_network()
        if self.network is None and not gains_from_bfloat16(self.device, self.layout.n_neurons):
            self.dtype = torch.float32

    @property
    def planner(self) -> TilePlanner:
        """Works out look-ups whose bilinear grids hold inputs of tiny-cuda-nn's Encodings instead of weights."""
        return self._planner

    @property
    def arithmetic(self) -> str:
        """In which precision the decoder is trained, and by what."""
        half = self.network is not None and self.network.dtype == torch.float16
        return f"{'half precision' if half else super().arithmetic}, {self.network_note}"

    def forward(
        self, lookups: list[TileLookup], quantize: bool, noise: QuantizationNoise | None = None
    ) -> tuple[torch.Tensor, list[TouchedTexels]]:
        """Return channels [N, C], and what holds the grids' gradients afterwards; both get them without the loss scale."""
        features = self.texture.grids(lookups, quantize, noise, self._blend)
        if self.network is None:
            return self.texture.decoder(features, self.dtype), features.touched
        return self._decode(self.network, features), features.touched

    def judge(self, gradients: Iterable[torch.Tensor]) -> torch.Tensor | None:
        """Return whether all gradients are finite, which the loss scale takes note of; the host does not wait to know."""
        if not self.reduced:
            return None
        finite = all_finite(list(gradients))
        self.loss_scale.update(finite)
        return finite

    def release(self) -> None:
        """Give the memory back that tiny-cuda-nn keeps for its temporaries."""
        self.tcnn.free_temporary_memory()

    def state(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return the loss scale."""
        return {"loss_scale": {"scale": self.loss_scale.scale, "good_steps": self.loss_scale.good_steps}}

    def load_state(self, state: dict[str, dict[str, torch.Tensor]]) -> None:
        """Restore the loss scale, if the state has one."""
        if "loss_scale" in state:
            self.loss_scale.scale = state["loss_scale"]["scale"].to(self.device)
            self.loss_scale.good_steps = state["loss_scale"]["good_steps"].to(self.device)

    def _blend(self, grid: int, tiles: TileLookup, lookup: BilinearLookup, texels: torch.Tensor) -> torch.Tensor:
        """Blend grid texels [B, Ky, Kx, F] in tiny-cuda-nn: [B, Ty, Tx, F] float32.

        `lookup.rows` [B, Ty] and `lookup.columns` [B, Tx] are the Encoding's inputs.
        """
        level = self.layout.grids[grid].level_of_mip(tiles.mip)
        resolution, n_features = self.layout.grids[grid].resolution(level), self.layout.grids[grid].n_features
        index = lookup.texels.view(-1) - self.texture.grids.first_row(grid, level)
        columns, rows = lookup.columns[:, None].expand(*tiles.shape), lookup.rows[:, :, None].expand(*tiles.shape)
        inputs = torch.stack([columns, rows], -1).view(-1, 2)
        values = self._scaled_back(texels.reshape(-1, n_features))
        parts = []
        for part, encoding in zip(feature_split(n_features), self.encodings[grid, level]):
            table = LevelTable.apply(values[:, part], index, resolution, self.layout.wrap, encoding.dtype)
            parts.append(self._run(encoding, table.view(-1), inputs))
        return (parts[0] if len(parts) == 1 else torch.cat(parts, -1)).view(*tiles.shape, n_features)

    def _decode(self, network: torch.nn.Module, features: Features) -> torch.Tensor:
        """Run the decoder in tiny-cuda-nn: [N, C] float32."""
        texels = features.dense()
        # The ones of the padding are given: how far a Network pads by itself depends on its type.
        padding = self.layout.layers[0].cols - texels.shape[1]
        texels = torch.cat([texels, texels.new_ones(len(texels), padding)], 1)
        weights = flat_weights(*self.texture.decoder.stored_matrices(), self.rows, self.layout.layers)
        output = self._run(network, self._scaled_back(weights), self._scaled_back(texels))
        return ACTIVATIONS[self.layout.layers[-1].activation](output.index_select(1, self.rows))

    def _run(self, module: torch.nn.Module, parameters: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """Call a module with other parameters; rows are padded to its granularity (256) by the bindings."""
        output = torch.func.functional_call(module, {"params": parameters}, (inputs,))
        return _ModuleOutput.apply(output, self.loss_scale.scale if self.reduced else 1.0)

    def _scaled_back(self, tensor: torch.Tensor) -> torch.Tensor:
        """Divide the loss scale out of the gradient of a module's input, in float32."""
        return _ScaleGradient.apply(tensor, 1 / self.loss_scale.scale) if self.reduced else tensor

    def _make_encodings(self, grid: GridLayout, level: int) -> list[torch.nn.Module]:
        # Half holds the levels of up to 8 bits exactly, those of 16 bits not. None: what the build prefers.
        dtype = None if self.reduced and grid.quantize_bits <= 8 else torch.float32
        encodings = []
        for part in feature_split(grid.n_features):
            config = encoding_config(grid.resolution(level), part.stop - part.start)
            encodings.append(self._emptied(self.tcnn.Encoding(2, config, dtype=dtype)))
        return encodings

    def _make_network(self) -> tuple[torch.nn.Module | None, str]:
        """Return a Network that is known to run here, or None for the layers in torch, and a note on which and why."""
        otype, note = network_type(self.layout)
        columns, rows = self.layout.layers[0].cols, self.layout.layers[-1].rows
        # From RTX 4000 on; on older cards fusing at run time can cost more than it saves.
        fuses = (
            fuses_at_run_time(self.layout)
            and torch.cuda.get_device_capability(self.device) >= (8, 9)
            and getattr(self.tcnn, "supports_jit_fusion", lambda: False)()
        )
        candidates = [] if otype == "torch" else dict.fromkeys([otype, "CutlassMLP"])
        for candidate, fused in [
            (candidate, fused) for candidate in candidates for fused in (True, False)[not fuses :]
        ]:
            try:
                network = self.tcnn.Network(columns, rows, network_config(self.layout, candidate))
                if not self.reduced and network.dtype != torch.float32:
                    return None, "decoder in torch: this tiny-cuda-nn computes networks in half precision"
                if fuses:
                    network.jit_fusion = fused
                self._emptied(network)
                error = self._trial_error(network)
                if error <= MOST_TRIAL_ERROR:
                    return network, f"decoder {candidate}" + (", fused at run time" if fused else "") + (
                        f": {note}" if note else ""
                    )
                note = f"{candidate} errs by {error:.1%} in a trial"
            except RuntimeError as error:
                note = " ".join(str(error).split())
        return None, f"decoder in torch: {note}"

    def _trial_error(self, network: torch.nn.Module) -> float:
        """Return the largest relative error on random numbers, of a network's output and of both its gradients."""
        random = torch.Generator().manual_seed(0)
        layers = self.layout.layers
        weights = (
            torch.cat([torch.randn(layer.rows * layer.cols, generator=random) / layer.cols**0.5 for layer in layers])
            .to(self.device)
            .requires_grad_()
        )
        inputs = torch.rand(512, layers[0].cols, generator=random).to(self.device).requires_grad_()
        # Of one sign, so that sums of half-precision terms do not cancel, and as small as a mean's.
        slope = (torch.rand(512, layers[-1].rows, generator=random).to(self.device) + 0.5) / (512 * layers[-1].rows)
        values = inputs
        with full_float32():
            for layer in layers:
                end = layer.offset + layer.rows * layer.cols
                values = values @ weights[layer.offset : end].view(layer.rows, layer.cols).t()
                if layer is not layers[-1]:
                    values = ACTIVATIONS[layer.activation](values)
            expected = [values, *torch.autograd.grad((values * slope).sum(), (weights, inputs))]
        output = self._run(network, weights, inputs)
        found = [output, *torch.autograd.grad((output * slope).sum(), (weights, inputs))]
        scale = self.loss_scale.scale if self.reduced else 1.0
        errors = [(a / by - b).norm() / b.norm() for a, b, by in zip(found, expected, (1.0, scale, scale))]
        return torch.stack(errors).nan_to_num(float("inf")).max().item()

    def _emptied(self, module: torch.nn.Module) -> torch.nn.Module:
        """Drop a module's own parameters: it is always called with others."""
        module.params = torch.nn.Parameter(torch.empty(0, device=self.device), requires_grad=False)
        # Scaling is done around the module, in float32; the bindings would divide again in half and lose the bits.
        module.loss_scale = 1.0  # type: ignore[assignment]
        return module
