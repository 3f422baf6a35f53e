"""A traced network as a module of its own, where one graph can stand for all that it does."""

from __future__ import annotations

import itertools

from torch import fx, nn

from nb_agents.surgery.doubts import refuse_graph
from nb_agents.surgery.paths import optional_arguments
from nb_agents.surgery.tracing import TraceError, attribute_of, flags_read, in_mode, name_of, trace_path


def as_graph_module(
    root: nn.Module, graph: fx.Graph, leaves: tuple[type[nn.Module], ...], *, fixed: bool = False
) -> fx.GraphModule:
    """``graph`` as a module that still follows ``train()`` and ``eval()``; for ``fixed`` see `doubts.follow`.

    Raises:
        TraceError: If one graph cannot stand for ``forward``, because it depends on more than the values given to it
            (the mode, for more than a functional dropout; arguments left out; flags) or does more than return values.
    """
    what = f"{type(root).__name__}.forward"
    if kept := [node.meta["kept"] for node in graph.nodes if "kept" in node.meta]:
        raise TraceError(f"{what} keeps values as {kept}")
    if not fixed and (flags := flags_read(root, leaves)):
        raise TraceError(f"{what} depends on {flags}, which may change")
    refuse_graph(root, fixed=fixed)
    if any(node.op == "get_attr" and attribute_of(root, str(node.target)) is None for node in graph.nodes):
        raise TraceError(f"{what} makes a tensor, whose numbers a graph would freeze")
    optional = optional_arguments(root, "forward")
    for left_out in ({name: optional[name]} for name in optional):
        shorter, _ = trace_path(root, leaves, left_out=left_out)
        if _calls_without_checks(graph) != _calls_without_checks(shorter):
            raise TraceError(f"{what} does something else where {next(iter(left_out))!r} is left out")
    # Tracing wrote the value of `training` into the graph; where it matters, a module must ask anew.
    others = []
    for mode in (True, False):
        with in_mode(root, training=mode):
            others.append(trace_path(root, leaves)[0].nodes)
    for number, nodes in enumerate(itertools.zip_longest(graph.nodes, *others)):
        if None not in nodes and len({_call(node) for node in nodes}) == 1:
            continue
        here = nodes[0]
        if any(node is None or node.target is not nn.functional.dropout for node in nodes):
            raise TraceError(f"{what} does something else in train() than in eval() mode")
        p = here.args[1] if len(here.args) > 1 else here.kwargs.get("p", 0.5)
        if not isinstance(p, float):
            raise TraceError(f"{what} computes the probability of a dropout")
        root.add_module(f"dropout_{number}", nn.Dropout(p).train(root.training))
        here.op, here.target, here.args, here.kwargs = "call_module", f"dropout_{number}", here.args[:1], {}
    return fx.GraphModule(root, graph, type(root).__name__)


def _call(node: fx.Node) -> tuple[str, str, str, str]:
    return node.op, str(node.target), str(node.args), str(node.kwargs)


def _calls_without_checks(graph: fx.Graph) -> list[tuple[str, str]]:
    """All calls of a graph, apart from those that `torch.fx` adds to check an argument that is left out."""
    return [
        (node.op, str(node.target))
        for node in graph.nodes
        if node.op not in ("placeholder", "output") and not _is_check(node)
    ]


def _is_check(node: fx.Node) -> bool:
    name = name_of(node)
    return name.startswith("_assert") or (name == "eq" and all(name_of(user) == "_assert" for user in node.users))
