"""Whether an actor can be evaluated for many parameter vectors at once, and which of its layers cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn


def check_stacked_form(
    actor: nn.Module, stacked: Callable[[], torch.Tensor], single: Callable[[], torch.Tensor]
) -> None:
    """Evaluate copies of an actor at once, forwards and backwards, and compare with the actor itself.

    Args:
        actor: The module, with the policy in it; layers are named by their paths in the policy.
        stacked: Function that evaluates some copies of it at once; shape ``(tasks, batch, n_outputs)``.
        single: Function that evaluates it alone on the same observations; shape ``(batch, n_outputs)``.

    Raises:
        ValueError: If that fails, with the layer's name, or if the two differ.
    """
    running: list[str] = []

    def leave(*_: Any) -> None:
        running.pop()

    with ExitStack() as hooks:
        for path, module in actor.named_modules():
            name = path.removeprefix("policy.")
            hooks.callback(module.register_forward_pre_hook(lambda *_, name=name: running.append(name)).remove)
            hooks.callback(module.register_forward_hook(leave).remove)
        try:
            outputs = stacked()
        except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
            path = running[-1] if running else ""
            layer = type(actor.get_submodule(f"policy.{path}" if path else "")).__name__
            raise ValueError(
                f"the policy's layer {path!r} ({layer}) cannot be evaluated for several parameters at once, as MAML "
                f"does: {str(error).strip().splitlines()[0]}"
            ) from error
    expected = single().expand_as(outputs)
    if not torch.allclose(outputs, expected, rtol=1e-3, atol=1e-4):
        worst = float((outputs - expected).abs().max())
        raise ValueError(
            f"the policy must compute the same for several parameters at once as for one, as MAML evaluates it; its "
            f"outputs differ by up to {worst:.3g} (dropout and other random layers do that)"
        )


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """Take back what layers write into their buffers within the context, as running statistics."""
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
