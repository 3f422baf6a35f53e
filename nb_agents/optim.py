"""One optimizer, two learning rates: the k's are stepped with a fixed multiple of the weights' rate."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch

WEIGHTS, GATES = "weights", "gates"
"""Names of the parameter groups; groups are looked up by name, never by index."""


def optimized_parts(policy: Any) -> dict[str, Any]:
    """What of an SB3 policy has an optimizer, by name: ``policy`` itself, or its ``actor`` and ``critic``."""
    parts = {"policy": policy, "actor": getattr(policy, "actor", None), "critic": getattr(policy, "critic", None)}
    return {name: part for name, part in parts.items() if hasattr(part, "optimizer")}


class RatioMixin:
    """Steps each parameter group with ``lr × lr_ratio``, whatever has just been written into ``lr``.

    SB3 writes the schedule's current rate into every group before each update, so a second rate set at construction
    would be lost at the first one. Here ``lr`` stays what SB3 wrote, before and after the step.
    """

    param_groups: list[dict[str, Any]]
    base_step: Callable[..., float | None]

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One optimization step; see `torch.optim.Optimizer.step`."""
        base_rates = [group["lr"] for group in self.param_groups]
        try:
            for group in self.param_groups:
                group["lr"] = group["lr"] * group["lr_ratio"]
            return self.base_step(closure)
        finally:
            for group, rate in zip(self.param_groups, base_rates, strict=True):
                group["lr"] = rate

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load moments and options; names and ratios stay this optimizer's own.

        PyTorch replaces the groups' keys by the file's, which would bring back the ratio of the run that wrote it.
        """
        own = [{key: group[key] for key in ("name", "lr_ratio")} for group in self.param_groups]
        super().load_state_dict(state_dict)  # type: ignore[misc]
        for group, keys in zip(self.param_groups, own, strict=True):
            group.update(keys)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # The class is made at run time and has no importable name; pickle and deepcopy need a way to make it again.
        base = next(cls for cls in type(self).__mro__ if cls.__module__ != __name__)
        return _blank, (base,), self.__getstate__()


@cache
def with_ratios(base: Any) -> Any:
    """The subclass of optimizer class ``base`` whose groups carry an ``lr_ratio``."""
    # PyTorch wraps the step of every class that was constructed, to profile it and to run step hooks. It will wrap the
    # subclass's; calling the wrapped one of the base from inside would run the hooks twice.
    base_step = base.step.__wrapped__ if getattr(base.step, "hooked", False) else base.step
    return type(f"Ratio{base.__name__}", (RatioMixin, base), {"__module__": __name__, "base_step": base_step})


def _blank(base: Any) -> Any:
    cls = with_ratios(base)
    return cls.__new__(cls)


def two_rates(
    optimizer: torch.optim.Optimizer,
    gate_parameters: Iterable[torch.nn.Parameter],
    lr_ratio: float,
    **optimizer_kwargs: Any,
) -> torch.optim.Optimizer:
    """An optimizer like ``optimizer``, freshly started, that steps the k's with ``lr_ratio`` times the rate.

    Args:
        optimizer: Gives the class, the parameters and the current rate.
        gate_parameters: The k's; those that ``optimizer`` does not hold are passed over.
        lr_ratio: Rate of the k's over that of the weights, >= 0.
        **optimizer_kwargs: What ``optimizer`` was constructed with besides parameters and rate.

    Returns:
        ``optimizer`` itself where it holds no k. Else one of the same class, in PyTorch's fused implementation where
        there is one and no other was asked for: it makes up for the time that the gates take, and its steps differ
        from the default's by float32 rounding.
    """
    ks = {id(parameter) for parameter in gate_parameters}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    weights = [parameter for parameter in parameters if id(parameter) not in ks]
    gates = [parameter for parameter in parameters if id(parameter) in ks]
    if not gates:
        return optimizer
    groups = [
        {"params": weights, "name": WEIGHTS, "lr_ratio": 1.0},
        {"params": gates, "name": GATES, "lr_ratio": lr_ratio},
    ]
    base: Any = type(optimizer)
    choices = inspect.signature(base).parameters
    if "fused" in choices and not {"fused", "foreach", "differentiable"} & optimizer_kwargs.keys():
        optimizer_kwargs["fused"] = True
    ratio_optimizer: torch.optim.Optimizer = with_ratios(base)(
        groups, lr=optimizer.param_groups[0]["lr"], **optimizer_kwargs
    )
    return ratio_optimizer
