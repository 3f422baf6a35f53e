"""Objects as others have built or wrapped them."""

from __future__ import annotations

from collections.abc import Container
from functools import cache
from typing import Any, ClassVar


class Extension:
    """A mixin that extends classes of other packages at run time, where they have built an instance already.

    Attributes:
        plain_class: The class that is extended.
    """

    plain_class: ClassVar[Any]

    @classmethod
    def of(cls, original: Any) -> Any:
        """An instance of the class of ``original`` extended by this one, with the very attributes of ``original``.

        The constructor is not called: which arguments have built ``original`` is not known.
        """
        made = cls.blank(type(original))
        made.__dict__ = original.__dict__
        return made

    @classmethod
    def blank(cls, base: Any) -> Any:
        """An instance of ``base`` extended by this one, without attributes."""
        return _blank(cls, base)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # The class has no importable name; pickle and deepcopy need a way to make it again.
        mixin = next(cls for cls in type(self).__mro__ if Extension in cls.__bases__)
        return _blank, (mixin, self.plain_class), self.__getstate__()


@cache
def _extended(mixin: Any, base: Any) -> Any:
    # Under the qualified name a battery's fingerprint knows a network: it is the one that SB3 built.
    own = {"__module__": mixin.__module__, "__qualname__": base.__qualname__, "plain_class": base}
    return type(f"KGated{base.__name__}", (mixin, base), own)


def _blank(mixin: Any, base: Any) -> Any:
    return object.__new__(_extended(mixin, base))


def uncompiled(module: Any) -> Any:
    """The network itself, where ``torch.compile(network)`` was given; parameters and gates are the same objects.

    The wrapper has the network's attributes but neither its class nor its parameters' names.
    """
    return getattr(module, "_orig_mod", module)


def free_name(name: str, taken: Container[str]) -> str:
    """``name`` with as few underscores behind it as it takes."""
    while name in taken:
        name += "_"
    return name
