"""A network whose gates take their k's, row by row, from a part of the input, while its layers see the rest."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from nb_agents.gates.gate import KGate
from nb_agents.inference.k_net import KNet, make_k_net
from nb_agents.inference.row_k_sets import RowKSets
from nb_agents.inference.row_k_target import RowKTarget


class ConditionedNet(nn.Module):
    """Layers with gates, as an `nn.Sequential`; row i of a batch passes through gates of k = k0 + f(part of row i).

    k0 are the gates' own k's. Layers keep the names that they have in an `nn.Sequential`, and f is ``k_net``.

    Args:
        layers: Layers, the hidden activations gated; the first one takes as many inputs as ``main`` has.
        main: Indices of the inputs that the layers see.
        given: Indices of the inputs that f sees.
        k_net: f, from ``(batch, len(given))`` to ``(batch, n_k)``.

    Attributes:
        k_targets: Regularisers of the k-sets, as the policy's k-target; none of them is a part of the network.
    """

    main: torch.Tensor
    given: torch.Tensor
    spread: torch.Tensor | None

    def __init__(
        self, layers: Iterable[nn.Module], main: Sequence[int], given: Sequence[int], k_net: nn.Module
    ) -> None:
        super().__init__()
        for name, layer in enumerate(layers):
            self.add_module(str(name), layer)
        self.k_net = k_net
        self.register_buffer("main", torch.tensor(list(main)), persistent=False)
        self.register_buffer("given", torch.tensor(list(given)), persistent=False)
        self._main, self._given = _as_slice(main), _as_slice(given)
        self.register_buffer("spread", self._spread(), persistent=False)
        self.k_targets: list[RowKTarget] = []
        if isinstance(k_net, RowKSets):
            self.hold_k0()
        self._start = copy.deepcopy(k_net.state_dict())

    def hold_k0(self) -> None:
        """Let k0 stand still, as where it is shared by rows that are to have nothing in common."""
        for gate in self.gates:
            gate.k.requires_grad_(False)

    def start(self) -> None:
        """Give f back what it was made with."""
        self.k_net.load_state_dict(self._start)

    @property
    def layers(self) -> list[nn.Module]:
        """The layers in order."""
        return [layer for name, layer in self._modules.items() if layer is not None and name != "k_net"]

    @property
    def gates(self) -> list[KGate]:
        """The gates in order."""
        return [layer for layer in self.layers if isinstance(layer, KGate)]

    @property
    def k0(self) -> torch.Tensor:
        """The gates' own k's, one after another, shape ``(n_k,)``."""
        return torch.cat([gate.k for gate in self.gates])

    def _spread(self) -> torch.Tensor | None:
        """The gates' matrices along a diagonal, by which all are one product; None if their formulas differ."""
        gates, kinds = self.gates, {type(gate) for gate in self.gates}
        matrices = [matrix for gate in gates if (matrix := gate.matrix()) is not None]
        alike = len(kinds) == 1 and isinstance(inspect.getattr_static(kinds.pop(), "phi"), staticmethod)
        self._widths = [matrix.shape[1] for matrix in matrices]
        if not alike or len(matrices) < len(gates):
            return None
        return torch.block_diag(*matrices)  # type: ignore[no-untyped-call, no-any-return]

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        converted = super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
        self.spread = self._spread()  # the gates' have been made anew, and not rounded
        return converted

    def k(self, features: torch.Tensor) -> torch.Tensor:
        """The k-sets of rows, ``(batch, n_k)``, the gates' one after another."""
        return self.k_sets(features[:, self._given])

    def k_sets(self, given: torch.Tensor) -> torch.Tensor:
        """The same of what f sees alone, ``(batch, len(given))``."""
        return self.k0 + self.k_net(given)  # type: ignore[no-any-return]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Output of the layers.

        Args:
            features: Inputs of shape ``(batch, len(main) + len(given))``.
        """
        given = features[:, self._given]
        k = self.k_sets(given)
        if self.training and k.requires_grad:
            for k_target in self.k_targets:
                k_target.watch(self.gates, k, given)
        return self.run(features[:, self._main], k)

    def run(self, x: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        """The layers alone, with a k-set for each row.

        Args:
            x: Inputs of the layers, ``(batch, len(main))``.
            k: k-sets, ``(batch, n_k)``.
        """
        gates = self.gates
        if self.spread is None:
            parts = iter(torch.split(k, [len(gate.k) for gate in gates], dim=1))
        else:
            values = gates[0].phi(k) @ self.spread
            parts = iter(torch.split(values, self._widths, dim=1))
        for layer in self.layers:
            if not isinstance(layer, KGate):
                x = layer(x)
            elif self.spread is None:
                x = layer.by_rows(x, next(parts))
            else:
                x = layer.by_values(x, next(parts))
        return x


def _as_slice(index: Sequence[int]) -> slice | list[int]:
    """Indices as a slice where they are neighbours, which is several times quicker."""
    first = index[0] if index else 0
    run = range(first, first + len(index))
    return slice(run.start, run.stop) if list(index) == list(run) else list(index)


def conditioned_nets(network: nn.Module) -> Iterator[ConditionedNet]:
    """The networks of a policy whose k's are computed."""
    return (module for module in network.modules() if isinstance(module, ConditionedNet))


def condition(network: nn.Module, parts: Mapping[str, slice], k_from: str | tuple[()], k_net: KNet) -> ConditionedNet:
    """A gated network whose k's are computed, with fresh weights in its first layer, which has fewer inputs.

    Args:
        network: `nn.Sequential` whose first linear layer is on all features.
        parts: Slices of the features by name.
        k_from: Part that f sees; () for none.
        k_net: See `make_k_net`.

    Raises:
        TypeError: If ``k_net`` makes no module.
        ValueError: If there is no such part, nothing else, no gate, or a network is of another kind.
    """
    if k_from and (k_from not in parts or len(parts) < 2):
        raise ValueError(f"k_from must be one of several parts of the observation, {list(parts)}; got {k_from!r}")
    given = range(parts[k_from].start, parts[k_from].stop) if k_from else range(0)
    width = max(part.stop for part in parts.values())
    main = [i for i in range(width) if i not in given]
    n_k = sum(len(layer.k) for layer in network.modules() if isinstance(layer, KGate))
    layers = list(network) if isinstance(network, nn.Sequential) else []
    place = next((i for i, layer in enumerate(layers) if isinstance(layer, nn.Linear)), None)
    first: Any = None if place is None else layers[place]
    if place is None or first.in_features != width or not n_k:
        raise ValueError(f"k_from needs gated layers, the first one linear and on the features, {parts}; got {network}")
    kind: dict[str, Any] = {"device": first.weight.device, "dtype": first.weight.dtype}
    layers[place] = nn.Linear(len(main), first.out_features, bias=first.bias is not None, **kind)
    layers[:place] = [_narrowed(layer, main) for layer in layers[:place]]
    return ConditionedNet(layers, main, given, _checked(make_k_net(k_net, len(given), n_k), len(given), n_k).to(**kind))


def _checked(k_net: Any, n_given: int, n_k: int) -> nn.Module:
    """f, after a copy of it was asked once; one of another width would be broadcast without a word.

    Raises:
        TypeError: If it is no module.
        ValueError: If it takes something else than ``(batch, n_given)``, or gives something else than ``(batch, n_k)``.
    """
    if not isinstance(k_net, nn.Module):
        raise TypeError(f"k_net must make a torch.nn.Module, got {k_net!r}")
    wanted = f"k_net must make a module that gives (batch, {n_k}) of (batch, {n_given})"
    first = next((tensor for tensor in k_net.parameters()), torch.zeros(0))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        try:
            k: Any = copy.deepcopy(k_net).eval()(first.new_zeros(2, n_given))
        except RuntimeError as error:
            raise ValueError(f"{wanted}, but for a batch of 2 it fails: {error}") from error
    if not torch.is_tensor(k) or k.shape != (2, n_k):
        raise ValueError(f"{wanted}, got {tuple(k.shape) if torch.is_tensor(k) else k!r} for a batch of 2")
    return k_net


def _narrowed(layer: nn.Module, main: Sequence[int]) -> nn.Module:
    """A layer in front of the first linear one, as CrossQ's normalisation, for some of its inputs."""
    layer, wide = copy.deepcopy(layer), getattr(layer, "num_features", None)
    for name, tensor in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
        if tensor.shape == (wide,):
            kept = tensor.detach()[list(main)].clone()
            setattr(layer, name, nn.Parameter(kept) if isinstance(tensor, nn.Parameter) else kept)
    if wide is not None:
        layer.num_features = len(main)  # type: ignore[assignment]
    return layer
