"""What makes a file of results trustworthy: a digest of all it says, and values of the types that they should have."""

from __future__ import annotations

import hashlib
import json
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints

SEAL = "sha256"
"""The entry with the digest."""

_NO_DIGEST = "0" * 64


def seal(data: Mapping[str, Any], **options: Any) -> bytes:
    """JSON of the data, with a digest of all its bytes, computed with zeros in the digest's place.

    Args:
        data: Data to keep.
        **options: Options of `json.dumps`.

    Raises:
        TypeError: JSON does not hold this.
        ValueError: JSON does not hold this with these options.
    """
    content = json.dumps({**data, SEAL: _NO_DIGEST}, **options).encode()
    before, _, after = content.rpartition(_NO_DIGEST.encode())  # the last entry
    return before + hashlib.sha256(content).hexdigest().encode() + after


def add_seal(content: bytes) -> bytes:
    """JSON of an object, with a digest as its last entry and every other byte as it was.

    Raises:
        ValueError: This is no object of JSON.
    """
    before, brace, after = content.rpartition(b"}")
    if not brace or after.strip():
        raise ValueError("its last character must be the brace of an object")
    body = before.rstrip()
    space = before[len(body) :]
    indent = b"\n " if b"\n" in space else b" "
    head = body + b"," + indent + f'"{SEAL}": "'.encode()
    tail = b'"' + space + brace + after
    return head + hashlib.sha256(head + _NO_DIGEST.encode() + tail).hexdigest().encode() + tail


def unseal(content: bytes) -> dict[str, Any]:
    """The data that `seal` was given; of a file from before there were digests, what it holds.

    A file without a digest may be one of an older job of a user's, and is taken as it is; all that are published in
    `benchmarks/results` have theirs.

    Raises:
        TypeError: This is no object of JSON.
        ValueError: This is not JSON, or something has changed since.
    """
    data = json.loads(content)
    if not isinstance(data, dict):
        raise TypeError(f"an object was expected, not {type(data).__name__}")
    if SEAL in data:
        digest = data.pop(SEAL)
        before, _, after = content.rpartition(str(digest).encode())
        if hashlib.sha256(before + _NO_DIGEST.encode() + after).hexdigest() != digest:
            raise ValueError("its contents do not agree with its digest")
    return data


def check_types(name: str, value: Any, kind: Any) -> None:
    """Make sure that a value is of its annotation, through lists, mappings and dataclasses; numbers are finite.

    Raises:
        TypeError: The value is not; the message names the part.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, kind):
        for part in (each.name for each in fields(value)):
            check_types(f"{name}.{part}", getattr(value, part), _annotations(type(value))[part])
    elif origin in (Union, types.UnionType):
        if not any(_fits(value, each) for each in arguments):
            _refuse(name, value, kind)
    elif origin is tuple and arguments[-1] is not Ellipsis:
        if not isinstance(value, Sequence) or len(value) != len(arguments):
            _refuse(name, value, kind)
        for i, (each, its_kind) in enumerate(zip(value, arguments, strict=True)):
            check_types(f"{name}[{i}]", each, its_kind)
    elif origin in (list, tuple, Sequence):
        if not isinstance(value, Sequence) or isinstance(value, str):
            _refuse(name, value, kind)
        if arguments[0] is float and all(type(each) is float and math.isfinite(each) for each in value):
            return  # the most frequent case by far, many times faster than one by one
        for i, each in enumerate(value):
            check_types(f"{name}[{i}]", each, arguments[0])
    elif origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            _refuse(name, value, kind)
        for key, each in value.items():
            check_types(f"{name}[{key!r}]", each, arguments[1])
    elif kind in (int, float):
        wanted = (int,) if kind is int else (int, float)
        if not isinstance(value, wanted) or isinstance(value, bool) or not math.isfinite(value):
            _refuse(name, value, kind)
    elif kind is not Any and not isinstance(value, origin or kind):
        _refuse(name, value, kind)


_annotations = lru_cache(get_type_hints)


def _fits(value: Any, kind: Any) -> bool:
    try:
        check_types("", value, kind)
    except TypeError:
        return False
    return True


def _refuse(name: str, value: Any, kind: Any) -> None:
    finite = "finite " if kind is float else ""
    raise TypeError(f"{name} must be {finite}{getattr(kind, '__name__', None) or kind}, got {value!r:.60}")


def check_lengths(name: str, values: Sequence[Any], *shape: int) -> None:
    """Make sure that nested lists have a shape.

    Raises:
        ValueError: The lists have another shape; the message names the part.
    """
    if len(values) != shape[0]:
        raise ValueError(f"{name} must have {shape[0]} entries, got {len(values)}")
    if len(shape) > 1:
        for i, each in enumerate(values):
            check_lengths(f"{name}[{i}]", each, *shape[1:])
