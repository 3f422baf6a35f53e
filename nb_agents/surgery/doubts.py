"""Code that tracing cannot be trusted with: it asks for more than values, and `torch.fx` answers otherwise.

`torch.fx` runs the code once, on proxies. A proxy is no tensor, no context manager leaves a trace in the graph, and an
attribute has the value that it happens to have. So the code itself is read, as far as it can be reached by its names.
"""

from __future__ import annotations

import dis
import itertools
from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from torch import fx, nn

from nb_agents.surgery.own_layers import is_own_layer, settings_of
from nb_agents.surgery.paths import names_in, trace_all
from nb_agents.surgery.tracing import TraceError, opened_modules
from nb_agents.surgery.weights import FoldError

_TYPES = frozenset(("isinstance", "issubclass", "type", "callable", "hasattr", "is_tensor", "__class__"))
_MODES = frozenset(("is_grad_enabled", "is_inference_mode_enabled", "is_autocast_enabled", "is_fx_tracing"))
_ABSENT = object()
_MOST_COMBINED = 4
"""Number of switches of which every combination is followed; of more, each by itself and all together."""


class Doubts(NamedTuple):
    """Constructs in a module's code, each in words.

    Attributes:
        types: Questions about the type of a value. An example shows whether they matter.
        modes: Questions about a mode of torch's, which may be another one at the next call.
        contexts: Statements that change how the code inside them computes, which no graph shows.
        numbers: Numbers and texts in attributes, which may change, that decide what is computed.
        changed: Attributes that the code itself changes, as by counting, and variables outside that decide.
    """

    types: list[str]
    modes: list[str]
    contexts: list[str]
    numbers: list[str]
    changed: list[str]

    def changing(self, *, fixed: bool) -> list[str]:
        """What is changed, without the variables outside where those are promised to stay as they are."""
        return [each for each in self.changed if not (fixed and each in self.numbers)]


def doubts_about(root: nn.Module, entries: Iterable[str] = ("forward",)) -> Doubts:
    """The doubtful constructs in the code of ``root``, its parts and the functions that they name."""
    found = Doubts([], [], [], [], [])
    _read(found, [module for module in opened_modules(root) if not is_own_layer(module)], entries)
    # What such a layer makes of its input's type and of its form's numbers, `own_layers` has seen.
    _read(found._replace(types=[]), [module for module in root.modules() if is_own_layer(module)], ())
    return found


def _read(found: Doubts, modules: list[nn.Module], entries: Iterable[str]) -> None:
    for function, wrapped, is_method in _functions(modules, entries):
        where = function.__qualname__.rpartition("<locals>.")[2]
        if wrapped:
            found.contexts.append(f"a decorator of {where}")
        own = function.__code__.co_varnames[0] if is_method and function.__code__.co_argcount else None
        for code in _codes(function.__code__):
            _Reader(code, function.__globals__, where, modules, own).read(found)


def refuse_graph(root: nn.Module, *, fixed: bool = False) -> None:
    """Raise `TraceError` if one graph may be another function than ``root.forward``; for ``fixed`` see `follow`."""
    doubts = doubts_about(root)
    if found := [*([] if fixed else doubts.types), *doubts.modes, *doubts.contexts, *doubts.changing(fixed=fixed)]:
        raise TraceError(f"{type(root).__name__}.forward cannot become one graph because of {', '.join(found)}")


def follow(
    root: nn.Module, entries: list[str], example_inputs: tuple[Any, ...] | None, *, fixed: bool = False
) -> list[fx.Graph]:
    """`trace_all`, with every switch of ``root`` at its other value too.

    Args:
        root: The network.
        entries: Names of its methods.
        example_inputs: Arguments of ``forward``, by which the result will be compared.
        fixed: Whether attributes that decide what is computed keep their values, so that no other is followed.

    Raises:
        TraceError: See `trace_all`.
        FoldError: If the code asks for what tracing answers otherwise, and no comparison with an example shows it.
    """
    graphs = trace_all(root, entries, example_inputs)
    doubts = doubts_about(root, entries)
    unsettled = [*doubts.modes, *(doubts.changing(fixed=True) if fixed else doubts.numbers)]
    hint = ", which may change later" + ("" if fixed or doubts.modes else " (fixed=True takes it as it is)")
    if not unsettled and (example_inputs is None or len(entries) > 1):
        unsettled, hint = doubts.types, "; pass example_inputs, so that the result can be compared"
        hint += "" if len(entries) == 1 else ", and methods=() to fold for forward alone"
    if unsettled:
        raise FoldError(f"{type(root).__name__} cannot be followed because of {', '.join(unsettled)}{hint}")
    for flips in _combinations([] if fixed else _switches(root, entries)):
        before = [(module, name, _value(module, name), name in vars(module)) for module, name in flips]
        try:
            for module, name, value, _ in before:
                vars(module)[name] = _pass if value is None else not value
            graphs += trace_all(root, entries, example_inputs)
        except TraceError as error:
            if not any(value is None for _, _, value, _ in before) and not _fails_anyway(error):
                names = [name for _, name, _, _ in before]
                raise FoldError(f"{type(root).__name__} with {names} at the other value: {error}") from error
        finally:
            for module, name, value, is_own in before:
                vars(module)[name] = value
                if not is_own:
                    del vars(module)[name]
    return graphs


def _pass(x: Any, *args: Any, **kwargs: Any) -> Any:
    """Stand in for a part that is None at present."""
    return x


def _fails_anyway(error: TraceError) -> bool:
    """Whether a network fails for lack of a part, as it would on tensors."""
    return isinstance(error.__cause__, AttributeError) or "'NoneType' object" in str(error.__cause__)


def _switches(root: nn.Module, entries: Iterable[str]) -> list[tuple[nn.Module, str]]:
    """Attributes that the code names and that are True, False or None."""
    modules = list(opened_modules(root))
    named = set[str]().union(*(names_in(function.__code__) for function, *_ in _functions(modules, entries)))
    names = sorted(named - vars(nn.Module()).keys() - vars(nn.Module).keys())
    found = [(module, name, _value(module, name)) for module in modules for name in names]
    return [(module, name) for module, name, value in found if value is None or isinstance(value, bool)]


def _value(module: nn.Module, name: str) -> Any:
    """An attribute of the module or its class, `_ABSENT` if there is none."""
    scopes = [vars(module), *(vars(cls) for cls in type(module).__mro__ if not _is_torch(cls.__module__))]
    return next((scope[name] for scope in scopes if name in scope), _ABSENT)


def _combinations(switches: list[Any]) -> Iterator[tuple[Any, ...]]:
    sizes = range(1, len(switches) + 1) if len(switches) <= _MOST_COMBINED else (1, len(switches))
    return itertools.chain.from_iterable(itertools.combinations(switches, size) for size in sizes)


def _functions(modules: list[nn.Module], entries: Iterable[str]) -> Iterator[tuple[FunctionType, bool, bool]]:
    """The user's functions that may run, as names say; whether torch wraps each; whether it is a method."""
    classes = {cls for m in modules for cls in type(m).__mro__ if not _is_torch(cls.__module__)}
    queue: list[Any] = [(vars(c)[n], False, True) for n in {*entries, "forward"} for c in classes if n in vars(c)]
    seen: set[int] = set()
    while queue:
        value, wrapped, is_method = queue.pop()
        value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if id(value) in seen or not isinstance(value, FunctionType):
            continue
        seen.add(id(value))
        by_torch = _is_torch(value.__globals__.get("__name__"))
        if hasattr(value, "__wrapped__"):
            queue.append((value.__wrapped__, by_torch, is_method))
        if by_torch:
            continue
        yield value, wrapped, is_method
        names = names_in(value.__code__)
        here = value.__globals__
        libraries = [here[n] for n in names if isinstance(here.get(n), ModuleType) and not _is_torch(here[n].__name__)]
        own = [vars(cls)[name] for cls in classes for name in names if name in vars(cls)]
        queue += [(each, False, not isinstance(each, staticmethod)) for each in own]
        queue += [(scope[n], False, False) for scope in (here, *map(vars, libraries)) for n in names if n in scope]
        queue += [(cell.cell_contents, False, False) for cell in value.__closure__ or () if _is_function(cell)]


def _is_function(cell: Any) -> bool:
    try:
        return isinstance(cell.cell_contents, FunctionType)
    except ValueError:  # the cell is empty yet
        return False


def _is_torch(module: str | None) -> bool:
    return (module or "").split(".")[0] in ("torch", "nb_agents")


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


class _Reader:
    """Reads the instructions of one piece of code; ``own`` is what a method calls its module."""

    def __init__(
        self, code: CodeType, scope: dict[str, Any], where: str, modules: list[nn.Module], own: str | None
    ) -> None:
        self.scope, self.where, self.modules, self.own = scope, where, modules, own
        self.steps = [s for s in dis.get_instructions(code) if s.opname not in ("CACHE", "PUSH_NULL", "PRECALL")]
        self.keeps = any(step.opname == "STORE_ATTR" for step in self.steps)
        self.copies: dict[Any, str] = {}  # local variables that hold a number of the module's

    def read(self, found: Doubts) -> None:
        """Add all that the code holds."""
        names = [step.opname for step in self.steps]
        contexts = names.count("WITH_EXCEPT_START")
        found.contexts.extend([f"a with statement in {self.where}"] * bool(contexts))
        found.types.extend([f"a try statement in {self.where}"] * (names.count("PUSH_EXC_INFO") > contexts))
        found.types.extend([f"a match statement in {self.where}"] * ("MATCH_CLASS" in names))
        for i, step in enumerate(self.steps):
            called = self._name(step)
            if called in _MODES:
                found.modes.append(f"{called}() in {self.where}")
            elif called == "set_grad_enabled":
                found.contexts.append(f"{called}() in {self.where}")
            elif called in _TYPES and not self._asks_a_module(self.steps[i + 1 :]):
                found.types.append(f"{called}() in {self.where}")
            elif step.opname == "STORE_ATTR" and self._is_number(step.argval):
                found.changed.append(f"{step.argval!r}, which {self.where} changes")
            elif step.opname == "STORE_FAST" and i and (held := self._held(self.steps[i - 1])):
                self.copies[step.argval] = held
            for name in self._deciding(i):
                why = f"{name!r}, by which {self.where} decides"
                found.numbers.extend([why] * (why not in found.numbers))
                if name in self.scope:
                    found.changed.append(why)

    def _name(self, step: dis.Instruction) -> str | None:
        """The name of what a step loads, as where it was defined."""
        if step.opname == "LOAD_GLOBAL":
            return getattr(self.scope.get(step.argval), "__name__", step.argval)  # type: ignore[no-any-return]
        return step.argval if step.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_NAME") else None

    def _deciding(self, i: int) -> list[str]:
        """Names of the numbers that a step branches, loops or selects by."""
        opname = self.steps[i].opname
        if ("JUMP" in opname and "_IF_" in opname) or opname in ("GET_ITER", "COMPARE_OP", "CONTAINS_OP", "IS_OP"):
            steps = list(itertools.takewhile(_is_within, reversed(self.steps[:i])))
        else:
            steps = self.steps[max(i - 1, 0) : i] if opname in ("BINARY_SUBSCR", "RETURN_VALUE") else []
        return sorted({held for step in steps if (held := self._held(step))})

    def _held(self, step: dis.Instruction) -> str | None:
        """The name of the number that a step loads."""
        if step.opname == "LOAD_FAST":
            return self.copies.get(step.argval)
        if step.opname == "LOAD_GLOBAL":
            return step.argval if isinstance(self.scope.get(step.argval), (int, float, str)) else None
        return step.argval if step.opname == "LOAD_ATTR" and self._is_number(step.argval) else None

    def _is_number(self, name: str) -> bool:
        values = [_value(module, name) for module in self.modules if name not in settings_of(module)]
        if name.startswith("__"):
            return False  # of the class: its name, its module
        return any(isinstance(v, (int, float, str, tuple, dict)) and not isinstance(v, bool) for v in values)

    def _asks_a_module(self, steps: list[dis.Instruction]) -> bool:
        """Whether a question is about the module itself or a part of it, or about classes that no value can have."""
        call = list(itertools.takewhile(lambda step: not step.opname.startswith("CALL"), steps))
        if call and call[0].opname in ("LOAD_FAST", "LOAD_DEREF") and call[0].argval == self.own and not self.keeps:
            return True
        asked: list[Any] = []
        for step in call:
            if step.opname == "LOAD_GLOBAL":
                asked.append(self.scope.get(step.argval))
            elif step.opname == "LOAD_ATTR" and asked:
                asked[-1] = getattr(asked[-1], step.argval, None)
        return bool(asked) and all(isinstance(each, type) and issubclass(each, nn.Module) for each in asked)


def _is_within(step: dis.Instruction) -> bool:
    """Whether a step can be part of the expression that is tested, rather than of the statement before."""
    return not (step.opname.startswith(("STORE_", "POP_TOP", "RETURN", "FOR_ITER", "RESUME")) or "JUMP" in step.opname)
