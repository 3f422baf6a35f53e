"""What an action depends on: the modules and parameters of a network without critics, targets and exploration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from torch import nn

from nb_agents.gates.k_target import KTarget


class ActorParts:
    """Says of a policy which parts of it act.

    Attributes:
        critic_parts: Paths of the modules that no action depends on; a policy class with others names them here.
        exploration_parts: Paths of the parameters or layers that set the spread of actions alone.
        head_part: Path of the module whose last layer is the actor's output; None if there is none.
    """

    critic_parts: ClassVar[tuple[str, ...]] = ()
    exploration_parts: ClassVar[tuple[str, ...]] = ("log_std", "actor.log_std")
    head_part: ClassVar[str | None] = None


def acting_modules(network: Any) -> Iterator[tuple[str, nn.Module]]:
    """The modules that a deterministic action depends on, each once, with its first path.

    In a policy with `ActorParts`: all but critics, target networks, and what sets the spread of actions alone. In any
    other module: all. A regulariser acts nowhere.
    """
    left_out, seen = _left_out(network), set()
    # With duplicates: a features extractor that a critic shares is the actor's, whichever path comes first.
    for path, module in network.named_modules(remove_duplicate=False):
        if id(module) in seen or isinstance(module, KTarget):
            continue
        if not any(f"{path}.".startswith(f"{part}.") for part in left_out):
            seen.add(id(module))
            yield path, module


def acting_parameters(network: Any) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that a deterministic action depends on, adapters' included, with their paths."""
    left_out = _left_out(network)
    for prefix, module in acting_modules(network):
        for name, parameter in module._parameters.items():
            path = joined(prefix, name)
            if parameter is not None and path not in left_out:
                yield path, parameter


def target_networks(policy: Any) -> list[tuple[str, nn.Module]]:
    """The networks that follow another one, by name: what that is called, and ``_target``."""
    return [(name, child) for name, child in policy.named_children() if name.endswith("_target")]


def part_at(root: Any, path: str) -> Any:
    """The attribute at a path, None if there is none."""
    for name in path.split("."):
        root = getattr(root, name, None)
    return root


def joined(prefix: str, name: str) -> str:
    """The path of something called ``name`` in the module at ``prefix``, which is empty for the root."""
    return f"{prefix}.{name}" if prefix else name


def _left_out(network: Any) -> tuple[str, ...]:
    if not isinstance(network, ActorParts):
        return ()
    return (*network.critic_parts, *network.exploration_parts, *(name for name, _ in target_networks(network)))
