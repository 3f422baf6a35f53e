"""k-gates: hidden activations multiplied by a few learnable sigmoids, or by another function of a few numbers.

The gate of the paper is ``h' = h ⊙ g`` with ``g = σ(k_layer)`` for Neural Battery (NB) and
``g = σ(k_layer) + block_weight · σ(k_block of the unit)`` for NB Pro, blocks being runs of neighbouring units.
Ours is the same, scaled such that it lies between 0 and ``gate_max``: with the default of 2 it is 1 where k = 0, so a
new gate changes nothing. All are one linear map of σ(k), see `KGate`; a subclass with another formula is a gate kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any, ClassVar, Protocol

import torch
from torch import nn

from nb_agents._checks import check_number
from nb_agents.gates.hook import hook

ACTIVATIONS: tuple[type[nn.Module], ...] = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.PReLU,
    nn.ReLU, nn.ReLU6, nn.RReLU, nn.SELU, nn.Sigmoid, nn.SiLU, nn.Softplus, nn.Softsign, nn.Tanh, nn.Tanhshrink,
)  # fmt: skip
"""Element-wise activations that a gate may follow."""

NORMALIZATIONS: tuple[type[nn.Module], ...] = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d,
    nn.InstanceNorm3d, nn.LayerNorm, nn.RMSNorm,
)  # fmt: skip
"""Layers that rescale activations; right behind an activation one would undo a gate, so the gate goes behind it."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class Regularizer(Protocol):
    """A term that can be added to the gradient of a gate's k; `nb_agents.gates.k_target.KTarget` is one."""

    def add_gradient(self, gate: KGate) -> None:
        """Add a gradient to ``gate.k.grad``, shape ``(1 + n_blocks,)``."""


class KGate(nn.Module):
    """An activation followed by a gate: ``1 + n_blocks`` numbers k say what ``n_units`` activations are multiplied by.

    ``k[0]`` belongs to the layer and ``k[1:]`` to its blocks. With the constant matrix M, which has a column of a's for
    the layer and for each block a column that is b on the block's units and 0 elsewhere, the gate is ``g = M σ(k)``.
    In the paper's gate, ``gate_max=None``, a = 1 and b = ``block_weight``. With a ``gate_max`` both are scaled so that
    ``a + b = gate_max`` exactly in floating point. So g lies in (0, gate_max) and is exactly half of it where k = 0.

    A gate of another kind is a subclass with its own `phi` in the place of σ, or its own `gate`; see
    docs/contributing/gate_kind.py. It is passed as ``gate_class`` wherever gates are made. A state dict holds k and not
    the kind, as it holds no activations; model and battery files know the kind.

    Attributes:
        k_start: Value of every k of a new gate; ``phi(k_start) = 1 / 2`` in a kind that starts neutral.
        k: Parameter of shape ``(1 + n_blocks,)``, or of another length in a kind with more numbers.
        membership: The matrix M, shape ``(n_units, 1 + n_blocks)``, which moves with the module and is not saved.
        regularizers: Terms added to the gradient of k, as the policy's k-target; none of them is a part of the gate.

    Args:
        n_units: Number of units, or of channels for a convolution.
        block_size: Neighbouring units per block (the last block may be shorter); None for the layer's gate alone.
        block_weight: Weight of a block's gate beside the layer's, >= 0.
        gate_max: Bound that every unit's gate stays below, > 0; None for the paper's, whose sum is not scaled.
        k_init: Start value of every k; None for `k_start`.
        spatial_dims: Number of dimensions behind the units': 0 for a linear layer, 2 behind a `Conv2d`.
        activation: Module computed first; None for a gate alone. In an `nn.Sequential` the gate takes its place, so
            that every other layer keeps its name in the state dict.

    Raises:
        TypeError: If an argument is not a number.
        ValueError: If ``n_units`` or ``block_size`` is below 1, ``block_weight`` negative, ``gate_max`` not positive or
            anything non-finite.
    """

    k_start: ClassVar[float] = 0.0
    k: nn.Parameter
    membership: torch.Tensor

    def __init__(
        self,
        n_units: int,
        *,
        block_size: int | None = 16,
        block_weight: float = 0.3,
        gate_max: float | None = 2.0,
        k_init: float | None = None,
        spatial_dims: int = 0,
        activation: nn.Module | None = None,
    ) -> None:
        k_init = self.k_start if k_init is None else k_init
        check_arguments(block_size, block_weight, k_init, gate_max)
        if n_units < 1:
            raise ValueError(f"n_units must be >= 1, got {n_units!r}")
        super().__init__()
        self.n_units = n_units
        self.block_size = block_size
        self.block_weight = float(block_weight)
        self.gate_max = None if gate_max is None else float(gate_max)
        self.spatial_dims = spatial_dims
        self.activation = nn.Identity() if activation is None else activation
        self.regularizers: list[Regularizer] = []
        self.register_buffer("membership", self._membership(torch.get_default_dtype()), persistent=False)
        self.k = nn.Parameter(self._start(float(k_init)))

    def _start(self, k_init: float) -> torch.Tensor:
        """The k's of a new gate."""
        return torch.full((self.membership.shape[1],), k_init)

    def _membership(self, dtype: torch.dtype) -> torch.Tensor:
        """M, such that its rows' sums are exactly ``gate_max`` in this dtype."""
        if self.block_size is None:
            return torch.ones(self.n_units, 1, dtype=dtype) * (1.0 if self.gate_max is None else self.gate_max)
        layer, block = torch.ones((), dtype=dtype), torch.tensor(self.block_weight).to(dtype)
        if self.gate_max is not None:
            most, share = torch.tensor(self.gate_max).to(dtype), 1.0 / (1.0 + self.block_weight)
            # Only the larger of the two is rounded: what it leaves of gate_max has no more digits than that.
            if share >= 0.5:
                layer = torch.tensor(self.gate_max * share).to(dtype)
                block = most - layer
            else:
                block = torch.tensor(self.gate_max * (1.0 - share)).to(dtype)
                layer = most - block
        units = torch.arange(self.n_units)[:, None] // self.block_size
        in_block = units == torch.arange(-(-self.n_units // self.block_size))
        return torch.cat([layer.expand(self.n_units, 1), block * in_block], dim=1)

    @staticmethod
    def phi(k: torch.Tensor) -> torch.Tensor:
        """φ(k), element by element, which M multiplies: σ(k) here. A kind of gates may have another, static or not."""
        return torch.sigmoid(k)

    def slope(self, k: torch.Tensor) -> torch.Tensor:
        """φ'(k), element by element: of σ in closed form, of any other φ by autograd."""
        if type(self).phi is KGate.phi:
            g = self.phi(k)
            return g - g * g
        with torch.enable_grad():  # whatever the caller's mode
            k = k.detach().requires_grad_()
            return torch.autograd.grad(self.phi(k).sum(), k)[0]

    def gate(self, k: torch.Tensor | None = None) -> torch.Tensor:
        """The gate g.

        Args:
            k: Values in the place of the module's own; shape ``(1 + n_blocks,)``.

        Returns:
            Shape ``(n_units,)``, or ``(1,)`` where one number serves all units, followed by ``spatial_dims`` ones.
        """
        # Not kept while k stands still: fused optimizers, and writes through `data`, leave k's version as it was, and
        # to compare k's values saves less than can be measured.
        g = self.phi(self.k if k is None else k)
        if self.block_size is not None:
            g = self.membership @ g
        elif self.gate_max is not None:
            g = g * self.gate_max
        return g[(..., *(None,) * self.spatial_dims)] if self.spatial_dims else g

    def rows(self, k: torch.Tensor) -> torch.Tensor:
        """The gates of many k-sets.

        Args:
            k: k-sets, shape ``(batch, 1 + n_blocks)``.

        Returns:
            Shape ``(batch, n_units)`` or ``(batch, 1)``, followed by ``spatial_dims`` ones.
        """
        return self._of_rows(k) if type(self).gate is KGate.gate else torch.func.vmap(self.gate)(k)

    def _of_rows(self, k: torch.Tensor) -> torch.Tensor:
        g = self.phi(k)
        g = g @ self.membership.T if self.block_size is not None else g * (self.gate_max or 1.0)
        return g[(..., *(None,) * self.spatial_dims)] if self.spatial_dims else g

    def k_names(self) -> list[str]:
        """What each k belongs to: nothing for the layer's, and ``_block_0`` and so on."""
        return ["", *(f"_block_{j}" for j in range(self.membership.shape[1] - 1))]

    def shift(self, k: torch.Tensor | None = None) -> torch.Tensor | None:
        """What a kind adds behind its gate, shaped as that is; None in a kind that multiplies and no more."""
        return None

    def shifts(self, k: torch.Tensor) -> torch.Tensor | None:
        """The shifts of many k-sets, shaped as `rows`; None where there are none."""
        return None if type(self).shift is KGate.shift else torch.func.vmap(self.shift)(k)

    def matrix(self) -> torch.Tensor | None:
        """What φ(k) is multiplied by for the gate of each unit, and for its shift behind them all where there is one.

        Returns:
            Shape ``(len(self.k), n_units)`` or ``(len(self.k), 2 * n_units)``; None in a kind with its own `gate`.
        """
        return self.membership.T if type(self).gate is KGate.gate and not self.spatial_dims else None

    def by_values(self, x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """`by_rows` with what the matrix has made of the k-sets, shape ``(batch, matrix().shape[1])``."""
        return self.activation(x) * values  # type: ignore[no-any-return]

    def by_rows(self, x: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        """`forward` with a k-set for each row: x is ``(batch, n_units, *spatial)``, k ``(batch, len(self.k))``."""
        return self.activation(x) * self.rows(k)  # type: ignore[no-any-return]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``activation(x) ⊙ g``, and the shift where the kind has one.

        Args:
            x: Input of shape ``(..., n_units)`` followed by ``spatial_dims`` dimensions.

        Returns:
            The same shape.
        """
        scaled: torch.Tensor = self.activation(x) * self.gate()
        shift = self.shift()
        return scaled if shift is None else scaled + shift

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The activation's state under the names that it has without the gate, and k; see `torch.nn.Module`."""
        state, prefix = super().state_dict(*args, **kwargs), kwargs.get("prefix", "")
        for key in [key for key in state if key.startswith(f"{prefix}activation.")]:
            state[prefix + key.removeprefix(f"{prefix}activation.")] = state.pop(key)
        return state

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # The children are handed the same dictionary afterwards. Earlier versions wrote the activation's own names.
        for key in [key for key in state_dict if key.startswith(prefix)]:
            if key != f"{prefix}k" and not key.startswith(f"{prefix}activation."):
                state_dict[f"{prefix}activation.{key.removeprefix(prefix)}"] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """The arguments, for ``repr``."""
        # Part of a battery's fingerprint: the paper's gates keep the text that they had before there were others.
        limit = "" if self.gate_max is None else f", gate_max={self.gate_max}"
        return f"{self.n_units}, block_size={self.block_size}, spatial_dims={self.spatial_dims}{limit}"

    # The hook reaches any loop that calls `backward()`, after the task's gradient and once however often k was read; an
    # optimizer whose `zero_grad` starts with the regulariser's gradient would add in another order, which changes PPO
    # by 6e-8. Hooks on a parameter are dropped when it is copied, pickled or replaced, and a regulariser in a dropped
    # hook vanishes silently. So the gate hooks whatever becomes its k: by assignment (construction, `load_state_dict`
    # with assign=True), by restored state (deepcopy, pickle), and by conversion (`to_empty` and its like).
    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "k" and isinstance(value, nn.Parameter):
            hook(self, value)

    def __setstate__(self, state: dict[str, Any]) -> None:
        state.setdefault("regularizers", list(state.pop("regularizer", ())))  # its name in files of earlier versions
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        hook(self, self.k)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        converted = super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
        # Rounding its two values to half precision one by one would leave a sum beside gate_max.
        self.membership = self._membership(self.membership.dtype).to(self.membership.device)
        hook(self, self.k)
        return converted


def check_arguments(block_size: Any, block_weight: Any, k_init: Any, gate_max: Any) -> None:
    """Refuse what no gate can be built from, see `KGate`."""
    if block_size is not None:
        if isinstance(block_size, bool) or not isinstance(block_size, Integral):
            raise TypeError(f"block_size must be an integer >= 1 or None, got {block_size!r}")
        if block_size < 1:
            raise ValueError(f"block_size must be an integer >= 1 or None, got {block_size!r}")
    check_number("block_weight", block_weight, low=0.0)
    check_number("k_init", k_init)
    if gate_max is not None and check_number("gate_max", gate_max) <= 0.0:
        raise ValueError(f"gate_max must be a finite number > 0 or None, got {gate_max!r}")
    for name, value in {"block_weight": block_weight, "k_init": k_init, "gate_max": gate_max}.items():
        if value is not None and abs(float(value)) > torch.finfo(torch.float32).max:
            raise ValueError(f"{name} must be finite in float32, got {value!r}")


def is_normalization(layer: nn.Module) -> bool:
    """Whether ``layer`` rescales activations, see `NORMALIZATIONS`."""
    # By their running means: other libraries' batch normalizations, and sb3-contrib's BatchRenorm.
    return isinstance(layer, NORMALIZATIONS) or hasattr(layer, "running_mean") or hasattr(layer, "ra_mean")


def named_gates(module: nn.Module) -> Iterator[tuple[str, KGate]]:
    """The gates in a module with their paths, in the order of `nn.Module.named_modules`."""
    for name, child in module.named_modules():
        if isinstance(child, KGate):
            yield name, child
