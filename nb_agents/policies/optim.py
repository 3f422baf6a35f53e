"""One optimizer, two learning rates: the k's are stepped with a fixed multiple of the weights' rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch

from nb_agents._checks import check_number
from nb_agents._objects import Extension

WEIGHTS, GATES = "weights", "gates"
"""Names of the parameter groups, see `two_rates`; groups are looked up by name, never by index."""

_FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)


def optimized_parts(policy: Any) -> dict[str, Any]:
    """Parts of an SB3 policy that have an optimizer, by name: ``policy`` itself, or its ``actor`` and ``critic``."""
    parts = {"policy": policy, "actor": getattr(policy, "actor", None), "critic": getattr(policy, "critic", None)}
    return {name: part for name, part in parts.items() if hasattr(part, "optimizer")}


class RatioMixin(Extension):
    """Steps each parameter group with ``lr × lr_ratio``, whatever has just been written into ``lr``.

    SB3 writes the schedule's current rate into every group before each update, so a second rate set at construction
    would be lost at the first one. Here ``lr`` stays what SB3 wrote, before and after the step. A group without
    ``lr_ratio`` is stepped with its ``lr``.
    """

    param_groups: list[dict[str, Any]]

    def step(self, *args: Any, **kwargs: Any) -> float | None:
        """One optimization step; see `torch.optim.Optimizer.step`."""
        # PyTorch wraps the step of every class that was constructed, to profile it and to run step hooks, this
        # one too; that of the plain class would run the hooks twice.
        step: Any = self.plain_class.step
        step = step.__wrapped__ if getattr(step, "hooked", False) else step
        with _scaled_rates(self.param_groups):
            loss: float | None = step(self, *args, **kwargs)
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; its ``lr_ratio`` is 1 unless it says another. See `torch.optim.Optimizer.add_param_group`."""
        super().add_param_group(param_group)  # type: ignore[misc]
        _name(self.param_groups[-1], WEIGHTS, self.param_groups)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load moments and options; names and ratios stay this optimizer's own.

        PyTorch replaces the groups' keys by the file's, which would bring back the ratio of the run that wrote it.
        """
        own: list[dict[str, Any]] = [
            {key: group[key] for key in ("name", "lr_ratio") if key in group} for group in self.param_groups
        ]
        super().load_state_dict(state_dict)  # type: ignore[misc]
        for group, keys in zip(self.param_groups, own, strict=True):
            group.update(keys)


@contextmanager
def _scaled_rates(groups: list[dict[str, Any]]) -> Iterator[None]:
    """Within the context every group's rate is multiplied by its ratio, if it has one."""
    rates = [(group, group["lr"]) for group in groups if group.get("lr_ratio", 1.0) != 1.0]
    try:
        for group, rate in rates:
            group["lr"] = rate * group["lr_ratio"]
        yield
    finally:
        for group, rate in rates:
            group["lr"] = rate


def two_rates(
    optimizer: torch.optim.Optimizer, gate_parameters: Iterable[torch.nn.Parameter], lr_ratio: float
) -> torch.optim.Optimizer:
    """``optimizer``, as one that steps the k's with ``lr_ratio`` times their group's rate.

    All that the optimizer was given stays: its options, its state, its hooks, and its groups with theirs. The k's of a
    group move into a group of their own with the same options. Groups without a ``name`` get one: `WEIGHTS` and
    `GATES`, followed by a number from the second on. A group may have an ``lr_ratio`` to begin with, which is kept and
    holds for its k's besides theirs; that is how parameters of your own get another rate under SB3, which writes one
    ``lr`` into all groups. Groups added later may have one too.

    Where PyTorch has a fused implementation and no other was asked for, it is taken: it makes up for the time that the
    gates take, and its steps differ from the default's by float32 rounding.

    Args:
        optimizer: Any optimizer that takes parameter groups.
        gate_parameters: All k's; those that ``optimizer`` does not hold are passed over.
        lr_ratio: Rate of the k's over that of the weights, >= 0.

    Returns:
        An instance of a class that extends that of ``optimizer`` and shares all with it, to be stepped in its place;
        ``optimizer`` itself where it holds no k.

    Raises:
        TypeError: If the optimizer takes one group only, or an ``lr_ratio`` of the user's is no number.
        ValueError: If one is negative or not finite, or the optimizer has two rates already.
    """
    ks = {id(parameter) for parameter in gate_parameters}
    groups = optimizer.param_groups
    if not any(id(parameter) in ks for group in groups for parameter in group["params"]):
        return optimizer
    if isinstance(optimizer, torch.optim.LBFGS):
        raise TypeError(
            "optimizer_class must take parameter groups, as the k's have a rate of their own; LBFGS does not"
        )
    if isinstance(optimizer, RatioMixin):
        raise ValueError(f"optimizer must not have a second rate yet, got {optimizer}")
    for group in groups:
        check_number("lr_ratio", group.get("lr_ratio", 1.0), low=0.0)
    optimizer = _scaled(optimizer)
    prefer_fused(optimizer)
    split = [_split(group, ks) for group in groups]
    # In place, and the k's last: another object may hold the list, and files know groups by their order.
    for group, (weights, _) in zip(groups, split, strict=True):
        if weights is not None:
            group.update(weights)
            _name(group, WEIGHTS, groups)
    for group, (weights, gates) in list(zip(groups, split, strict=True)):
        if gates is not None:
            own = group if weights is None else dict(group)
            own.update(gates, lr_ratio=group.get("lr_ratio", 1.0) * lr_ratio)
            if own is not group:
                own.pop("name", None)
                groups.append(own)
            _name(own, GATES, groups)
    return optimizer


def _split(group: dict[str, Any], ks: set[int]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The lists of parameters in a group, for its weights and for its k's; None where there are none.

    Besides ``params`` that is ``param_names``, which PyTorch keeps for optimizers of named parameters.
    """

    def part(of_gates: bool) -> dict[str, Any] | None:
        places = [i for i, parameter in enumerate(group["params"]) if (id(parameter) in ks) is of_gates]
        lists: dict[str, Any] = {
            key: [group[key][i] for i in places] for key in ("params", "param_names") if key in group
        }
        return lists if places else None

    return part(of_gates=False), part(of_gates=True)


def _name(group: dict[str, Any], name: str, groups: list[dict[str, Any]]) -> None:
    """Give a group its name and its ratio, where it has none."""
    group["lr_ratio"] = check_number("lr_ratio", group.get("lr_ratio", 1.0), low=0.0)
    if "name" not in group:
        taken = {other.get("name") for other in groups}
        numbered = (name if i == 0 else f"{name}_{i}" for i in range(len(groups) + 1))
        group["name"] = next(candidate for candidate in numbered if candidate not in taken)


def _scaled(original: Any) -> Any:
    """The optimizer with `RatioMixin`, hooks and what was made of its ``step`` included."""
    optimizer = RatioMixin.of(original)
    optimizer.__setstate__(optimizer.__getstate__())  # PyTorch wraps the step of the new class here
    own_step = vars(optimizer).get("step")
    if own_step is not None:  # a scheduler of learning rates put its own over the class's

        @wraps(own_step)
        def step(*args: Any, **kwargs: Any) -> Any:
            with _scaled_rates(original.param_groups):  # and keeps the original, which the scheduler's refers to weakly
                return own_step(*args, **kwargs)

        optimizer.step = step
    return optimizer


def prefer_fused(optimizer: torch.optim.Optimizer) -> None:
    """Take the fused implementation of an optimizer that has one on every device, if nothing speaks against it.

    Nothing does unless an implementation was chosen, or there are moments already.
    """
    options = (optimizer.defaults, *optimizer.param_groups)
    chosen = any(
        each.get("fused") is not None or each.get("foreach") is not None or each.get("differentiable")
        for each in options
    )
    if isinstance(optimizer, _FUSED) and not chosen and not optimizer.state:
        for each in options:
            each["fused"] = True


def carry_groups(
    optimizer: torch.optim.Optimizer, old: torch.optim.Optimizer, source: dict[torch.nn.Parameter, torch.nn.Parameter]
) -> None:
    """Give a new optimizer the groups of an old one, with the options that they have by now; moments start afresh.

    k's that only the new one has stay in groups of their own. They take the options of those parameters beside which
    the new one's constructor has put them. Which implementation is taken (``fused``, ``foreach``) stays the new one's.

    Args:
        optimizer: The new optimizer, changed in place.
        old: The old one, not changed.
        source: The parameters of the old network by those of the new one, k's of either left out.

    Raises:
        TypeError: If the two are of different classes.
    """
    if _base(optimizer) is not _base(old):
        raise TypeError(
            f"the model's optimizer is a {_base(old).__name__}, but its policy_kwargs make a "
            f"{_base(optimizer).__name__}: pass the class as optimizer_class in policy_kwargs"
        )
    made, scaled = optimizer.param_groups, isinstance(optimizer, RatioMixin)
    names = {p: name for group in made for p, name in zip(group["params"], group.get("param_names", ()), strict=False)}
    place = {p: i for i, group in enumerate(old.param_groups) for p in group["params"]}
    home = {p: place.get(each) for p, each in source.items()}
    for group in made:  # a new parameter beside known ones, as one of f's beside k's, goes where they go
        known = [home[p] for p in group["params"] if p in source]
        home |= {p: known[0] for p in group["params"] if known and p not in source}
    ordered = dict.fromkeys([p for group in made for p in group["params"]] + list(source))
    own = [group for group in made if not any(p in source for p in group["params"])]
    beside = [_beside(group, made, source) for group in own]
    groups: list[dict[str, Any]] = []
    for i, group in enumerate(old.param_groups):
        if params := [p for p in ordered if home.get(p) == i]:
            listed = {"params": params} | ({"param_names": [names.get(p, "") for p in params]} if names else {})
            groups.append(_options(group, made[0], scaled=scaled) | listed)
    for group, parameter in zip(own, beside, strict=True):
        i = place.get(source[parameter], 0) if parameter is not None else 0
        kept = {key: group[key] for key in ("params", "param_names", "name", "lr_ratio") if key in group}
        groups.append(_options(old.param_groups[i], group, scaled=scaled) | kept)
    made[:] = groups
    for group in groups:
        if scaled:
            _name(group, WEIGHTS, groups)


def _base(optimizer: torch.optim.Optimizer) -> type[torch.optim.Optimizer]:
    return getattr(optimizer, "plain_class", type(optimizer))


def _options(group: dict[str, Any], made: dict[str, Any], *, scaled: bool) -> dict[str, Any]:
    """A group's options, without what `two_rates` has added if there are not to be two rates."""
    options = {key: value for key, value in group.items() if key not in ("params", "param_names")}
    options.update({key: made[key] for key in ("fused", "foreach") if key in made})
    if not scaled and options.get("lr_ratio") == 1.0 and str(options.get("name")).startswith(WEIGHTS):
        del options["lr_ratio"], options["name"]
    return options


def _beside(
    group: dict[str, Any], made: list[dict[str, Any]], source: dict[torch.nn.Parameter, torch.nn.Parameter]
) -> torch.nn.Parameter | None:
    """The first parameter with a source in a group of the same options, or else in any."""
    different = ("params", "param_names", "name", "lr_ratio")

    def options(each: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in each.items() if key not in different}

    alike = [each for each in made if options(each) == options(group)]
    return next((p for each in (*alike, *made) for p in each["params"] if p in source), None)
