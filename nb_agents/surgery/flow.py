"""The linear maps that read the units which a gate scales, and could do the scaling themselves.

A gate multiplies the units of one layer. Operations that commute with a positive factor per unit (dropout, pooling,
flattening, ReLU) hand the factor on, the next linear maps can take it into their columns, and everything else cannot.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from nb_agents.gates.gate import ACTIVATIONS, CONVOLUTIONS, KGate, is_normalization
from nb_agents.surgery.functions import FunctionFlow
from nb_agents.surgery.layout import Layout, units
from nb_agents.surgery.own_layers import ask, is_own_layer
from nb_agents.surgery.tracing import COMMUTING_MODULES, ScaleSink, attribute_of, has_hooks, operands
from nb_agents.surgery.weights import TRANSPOSED, Add, Multiply, Use, factor_of, into, into_bias, shift_of, sizes_of


@dataclass
class Flow(FunctionFlow):
    """The way of every layer's units, and of the gates on them, through a traced network.

    Attributes:
        uses: Everything that reads with each weight, by the weight's ``id``.

    Args:
        activations: Classes of activation modules besides torch's own.
        ungated: Names of gates to take for plain activations.
    """

    activations: tuple[type[nn.Module], ...] = ()
    ungated: Collection[str] = ()
    uses: dict[int, list[Use]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for graph in self.graphs:
            for node in graph.nodes:
                layout = self.layouts[node] = self._layout(node)
                if "kept" in node.meta:
                    self._lose([layout], f"its values are kept as {node.meta['kept']!r}")
        for uses in self.uses.values():
            if any(use.features != uses[0].features for use in uses):
                for use in uses:
                    self._block(use.gates, f"the weights of {use.reader} are used several times, not always behind it")
            for use in uses:
                if use.add is None:
                    self._block(use.gates & self.shifted, f"{use.reader} cannot take a shift into a bias of its own")

    def _layout(self, node: fx.Node) -> Layout | None:
        inputs = [self.layouts[n] for n in node.all_input_nodes]
        if node.op == "call_module":
            return self._module(node, self.root.get_submodule(str(node.target)), inputs)
        if node.op in ("call_function", "call_method"):
            return self._function(node, inputs)
        if node.op == "get_attr":  # a weight that a function reads
            path, _, name = str(node.target).rpartition(".")
            if isinstance(self.root.get_submodule(path), KGate):
                self._block(frozenset((path,)), f"its {name} is read besides")
            self._reads_alone(getattr(self.root.get_submodule(path), name, None), node)
        if node.op == "output":
            self._lose(inputs, "its values leave the network with no linear map behind it")
        return None

    def _module(self, node: fx.Node, module: nn.Module, inputs: Sequence[Layout | None]) -> Layout | None:
        layout = inputs[0] if inputs else None
        if isinstance(module, KGate):
            if has_hooks(module) or has_hooks(module.activation):
                self._block(frozenset((str(node.target),)), "it has forward hooks or a forward of its own")
            return self._gate(str(node.target), module, layout)
        if isinstance(module, ScaleSink):
            self._read(node, id(module), layout, -1, None if layout is None else layout.width, module.absorb)
            return layout
        if is_own_layer(module) and not has_hooks(module) and not ask(node, module).inputs:
            for parameter in module.parameters():
                self._reads_alone(parameter, node)
            self._lose(inputs, f"{node.target} ({type(module).__name__}), which does not use its weight as it is,")
            n_units, dims = sizes_of(module)[4:1:-2]
            return units(n_units, dims) if ask(node, module).keeps_units else None
        if isinstance(module, (nn.Linear, *CONVOLUTIONS, nn.RNNBase)) and not has_hooks(module):
            if len(operands(node)) > 1:
                self._lose(inputs, f"as one of several inputs of {node.target} it comes before a linear map")
                layout = None
            return self._linear(node, module, layout)
        for parameter in module.parameters():
            self._reads_alone(parameter, node)
        if has_hooks(module):
            return self._lose(inputs, f"{node.target} has forward hooks or a forward of its own")
        if isinstance(module, nn.Flatten):
            return self._flatten(node, layout, module.start_dim, module.end_dim)
        if isinstance(module, COMMUTING_MODULES):
            return self._hand_on(node, type(module).__name__, layout)
        self._lose(inputs, f"{node.target} ({type(module).__name__}) comes before a linear map")
        keeps_units = isinstance(module, (*ACTIVATIONS, *self.activations)) or is_normalization(module)
        return layout.without_gates() if layout is not None and keeps_units else None

    def _reads_alone(self, weight: Any, node: fx.Node) -> None:
        """Note that ``weight`` is read in a way that no gate can be multiplied into, so that others cannot scale it."""
        self.uses.setdefault(id(weight), []).append(Use(str(node.target)))

    def _gate(self, name: str, gate: KGate, layout: Layout | None) -> Layout:
        passed: tuple[str, ...] = ()
        if layout is not None and layout.gates:
            runs = layout.pieces[0].runs
            one_run = len(layout.pieces) == 1 and len(runs) == 1 and layout.pieces[0].pattern == "each"
            activation = type(gate.activation)
            passes = issubclass(activation, COMMUTING_MODULES) and self._may_pass(activation.__name__, layout)
            if passes and one_run and not self._is_shifted(layout) and layout.axis == -1 - gate.spatial_dims:
                passed = runs[0][1]
            else:
                self._lose([layout], f"{name} comes before a linear map")
        own = () if name in self.ungated else (name,)
        return units(gate.n_units, gate.spatial_dims, (*passed, *own))

    def _linear(self, node: fx.Node, module: nn.Module, layout: Layout | None) -> Layout | None:
        names = ["weight"]
        if isinstance(module, nn.RNNBase):
            names = ["weight_ih_l0", *(["weight_ih_l0_reverse"] if module.bidirectional else [])]
        if layout is not None and not module._parameters.keys() >= set(names):
            self._lose([layout], f"the weight of {node.target} is computed by a parametrization or a hook")
            layout = layout.without_gates()
        if isinstance(module, nn.RNNBase):
            for name in names:
                weight = getattr(module, name)
                self._read(node, id(weight), layout, -1, module.input_size, into(weight))
            return None
        weight, groups, dims, width, n_units = sizes_of(module)
        multiply = into(weight, groups, transposed=isinstance(module, TRANSPOSED))
        self._read(node, id(weight), layout, -1 - dims, width, multiply, self._addition(module))
        return units(n_units, dims)

    def _addition(self, module: nn.Module) -> Add | None:
        """How a linear map takes up a shift of its inputs, if nothing else reads its bias."""
        bias = None if is_own_layer(module) else module._parameters.get("bias")
        graphs_read = (node for graph in self.graphs for node in graph.nodes if node.op == "get_attr")
        elsewhere = any(attribute_of(self.root, str(node.target)) is bias for node in graphs_read)
        owners = [each for each in self.root.modules() if any(p is bias for p in each._parameters.values())]
        return None if bias is None or elsewhere or len(owners) > 1 else into_bias(module)

    def _read(
        self,
        node: fx.Node,
        weight: int,
        layout: Layout | None,
        axis: int,
        width: int | None,
        multiply: Multiply,
        add: Add | None = None,
    ) -> None:
        use = Use(str(node.target))
        self.uses.setdefault(weight, []).append(use)
        if layout is None or not layout.gates:
            return
        features = layout.features(width) if width is not None else None
        if layout.axis != axis:
            self._lose([layout], f"{node.target} reads along another axis than that of the gated units")
        elif features is None:
            self._lose([layout], f"which inputs of {node.target} it scales is unknown without example_inputs")
        else:
            use.features, use.multiply, use.add = features, multiply, add

    @torch.no_grad()
    def absorb(self, values: Mapping[str, torch.Tensor], shifts: Mapping[str, torch.Tensor]) -> None:
        """Take factors and shifts, by gate, each of shape ``(n_units,)``, into the layers behind the gates."""
        for use in (uses[0] for uses in self.uses.values()):
            if not use.gates.isdisjoint(shifts):
                assert use.add is not None
                use.add(shift_of(use.features, shifts))  # through the weight as it is before the factors
            if use.gates:
                assert use.multiply is not None
                use.multiply(factor_of(use.features, values))
