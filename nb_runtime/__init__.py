"""Exported policies where there is no PyTorch: NumPy and ONNX Runtime are all that it takes."""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

FORMAT, FORMER = "nb_agents.Battery 2", "nb_agents.Battery 1"  # the former has no digest; it is read, not written
NO_DIGEST = b"0" * 64  # stands in the place of the digest while that is computed
DIGEST = re.compile(rb'"digest":"([0-9a-f]{64})"')  # nowhere else: within JSON's text, quotation marks are escaped
_DTYPES = {"float": "<f4", "double": "<f8", "F16": "<f2", "F32": "<f4", "F64": "<f8"}  # names in ONNX and safetensors


class FingerprintError(ValueError):
    """The k-sets belong to another network, or to this one with other weights."""


class Policy:
    """What `nb_agents.export_onnx` wrote, a policy or a student.

    Args:
        path: The ONNX file.
        battery: File of k-sets that `nb_agents.Battery.save` wrote, for a policy that was exported with ``k="input"``.
        threads: Threads of a step.

    Attributes:
        k_sets: The k-sets by name, arrays of shape ``(n_k,)``.

    Raises:
        ImportError: If onnxruntime is missing; it has errors of its own for an ONNX file that is missing or damaged.
        OSError: If the file of k-sets cannot be read.
        ValueError: If that is damaged, or as `add`. It is a `FingerprintError` if the k-sets are another policy's.
    """

    def __init__(self, path: str | os.PathLike[str], battery: Any = None, *, threads: int = 1) -> None:
        import onnxruntime  # here, for k-sets are read without it

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(os.fspath(path), options, ["CPUExecutionProvider"])
        self._about = self._session.get_modelmeta().custom_metadata_map
        kinds = {each.name: (tuple(each.shape[1:]), each.type[7:-1]) for each in self._session.get_inputs()}
        self._inputs = {name: (shape, np.dtype(_DTYPES.get(kind, kind))) for name, (shape, kind) in kinds.items()}
        self._kept = [each.name.removeprefix("next_") for each in self._session.get_outputs()[1:]]
        self._seen = [*self._inputs][:1] if self._kept else [i for i in self._inputs if i != self._about.get("k")]
        self._rows, self._shared, self._state = np.empty((0, 0)), False, list[Any]()
        self.k_sets: dict[str, Any] = {}
        _, text, k_sets = read_k_sets(battery) if battery is not None else (b"", {}, {})
        for each in ("adapter", "gates", "architecture", "weights") if battery and "k" in self._about else ():
            if text.get(each) != self._about.get(each):
                raise FingerprintError(f"{os.fspath(battery)!r} was written for a policy with other {each}")
        for name, (dtype, content) in k_sets.items():
            self.add(name, np.frombuffer(content, _DTYPES.get(dtype, dtype)))

    def add(self, name: str, k: Any) -> None:
        """Keep a k-set; a ValueError if it is not finite or of another shape, or the policy takes none."""
        if "k" not in self._about:
            raise ValueError("the policy takes no k-sets: export it with k='input'")
        shape, dtype = self._inputs[self._about["k"]]
        if (numbers := np.array(k, dtype)).shape != shape or not np.isfinite(numbers).all():
            raise ValueError(f"k of {name!r} must be finite numbers of shape {shape}, got {numbers}")
        self.k_sets[name] = numbers

    def apply(self, names: str | Sequence[str]) -> None:
        """Act by a k-set from now on, or in row i of a batch by that of ``names[i]``; a KeyError if there is none."""
        for name in (each := [names] if isinstance(names, str) else [*names]):
            if name not in self.k_sets:
                raise KeyError(f"no k-set named {name!r}; there are {[*self.k_sets]}")
        self._rows, self._shared = np.stack([self.k_sets[name] for name in each]), isinstance(names, str)

    def predict(self, observation: Any, episode_start: Any = False) -> Any:
        """Deterministic actions, shape ``(n, *action_shape)``, or without ``n`` for a single observation.

        Args:
            observation: Array, or arrays by name where the policy's space is a dictionary; a batch of ``n`` or one.
            episode_start: Where episodes begin, shape ``(n,)`` or one for all, which a student has to know.

        Raises:
            ValueError: If an observation is of another shape or dtype or not finite, no k-set is applied, or ``n`` is
                not the number of the k-sets or of the environments in a student's history.
        """
        first = self._seen[0]
        parts = observation if isinstance(observation, Mapping) else {first: observation}
        if parts.keys() != {*self._seen}:
            raise ValueError(f"observation must have the parts {self._seen}, got {[*parts]}")
        feed = {name: self._batch(name, np.asarray(part)) for name, part in parts.items()}
        n = len(feed[first])
        if {n} != {len(batch) for batch in feed.values()}:
            raise ValueError(f"observation must have as many rows in each part, got {[*map(len, feed.values())]}")
        if "k" in self._about:
            if len(self._rows) != n and not self._shared:
                raise ValueError(f"apply one k-set, or one for each of the {n} observations; got {len(self._rows)}")
            feed[self._about["k"]] = self._rows.repeat(n, axis=0) if self._shared else self._rows
        if self._kept:
            feed |= self._history(n, np.asarray(episode_start, dtype=bool))
        actions, *self._state = self._session.run(None, feed)
        return actions.squeeze(axis=0) if np.ndim(parts[first]) == len(self._inputs[first][0]) else actions

    def _batch(self, name: str, part: Any) -> Any:
        shape, dtype = self._inputs[name]
        batch = part[None] if part.ndim == len(shape) else part
        fits = batch.shape[1:] == shape and np.can_cast(part.dtype, dtype, "same_kind")
        if not fits or not np.isfinite(batch := batch.astype(dtype)).all():
            accepted = f"finite numbers of shape {shape} and dtype {dtype}, or a batch of such"
            raise ValueError(f"observation {name!r} must be {accepted}; got {part.dtype} {part.shape}: {part}")
        return batch

    def _history(self, n: int, starts: Any) -> dict[str, Any]:
        state, starts = self._state, starts if self._state else np.array(True)
        if starts.all():
            state = [np.zeros((n, *shape), dtype) for shape, dtype in (self._inputs[name] for name in self._kept)]
        if len(state[0]) != n or starts.shape not in ((), (n,)):
            raise ValueError(f"episode_start must have shape ({n},), all True after {len(state[0])} rows; got {starts}")
        return dict(zip(self._kept, state, strict=True)) | {"episode_start": np.full(n, starts)}


def read_k_sets(path: str | os.PathLike[str], formats: Any = (FORMAT, FORMER)) -> tuple[bytes, Any, dict[str, Any]]:
    """A battery's file, or one of other ``formats``: its bytes, text by name, and dtype and bytes of each k-set.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is truncated, damaged or of another kind.
    """
    with open(path, "rb") as file:
        content = file.read(os.fstat(file.fileno()).st_size)  # no more, should it be a device that never ends
    try:
        start = 8 + int.from_bytes(content[:8], "little")
        entries: dict[str, Any] = json.loads(content[8:start])
        text = entries.pop("__metadata__", {})
        if text.get("format") not in formats:
            raise ValueError(f"its format is {text.get('format')!r}, not {formats[0]!r}")
        places = [found.span(1) for found in DIGEST.finditer(content, 8, start)]
        if not places and text.get("format") == FORMAT:
            raise ValueError("it has no digest")
        for low, high in places:
            if hashlib.sha256(content[:low] + NO_DIGEST + content[high:]).hexdigest() != content[low:high].decode():
                raise ValueError("its bytes do not agree with its digest")
        ends = {name: [start + end for end in each["data_offsets"]] for name, each in entries.items()}
        return content, text, {name: (entries[name]["dtype"], content[slice(*ends[name])]) for name in entries}
    except Exception as error:  # what a damaged file makes the parsers raise is of any kind
        raise not_whole(path, error) from None


def not_whole(path: str | os.PathLike[str], reason: Exception) -> ValueError:
    """The error by which a file of k-sets is refused."""
    return ValueError(f"{os.fspath(path)!r} is not a whole file of k-sets: {type(reason).__name__}: {reason}")
