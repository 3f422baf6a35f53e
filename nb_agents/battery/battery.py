"""A battery: named k-sets of one network, to capture, swap, interpolate and keep in a file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import reduce
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from nb_agents._checks import check_flag, check_number
from nb_agents.battery import file as k_set_file
from nb_agents.battery import peft_folder
from nb_agents.battery.choosing import Choosing
from nb_agents.battery.fingerprint import Fingerprint, WeightsWatch, fingerprint
from nb_agents.battery.k_set import KSet
from nb_agents.battery.per_row import distinct, gates_per_row
from nb_agents.inference.student import StudentPolicy
from nb_runtime import FingerprintError, not_whole

__all__ = ["Battery", "FingerprintError"]


class Battery(Choosing):
    """Named k-sets of one network.

    A k-set means something only beside the weights that it was learned with, so the battery takes the network's
    fingerprint with the first k-set and refuses to go on with any other network or weights. Iteration, ``len`` and
    ``in`` are those of the names, in the order in which they came; ``battery[name]`` is a copy of the k's.

    Other adapters are kept alike: sets of biases, of the output layer's numbers, or of low-rank adapters'. What is said
    of k's holds for their numbers then, and all weights but these are in the fingerprint.

    Args:
        network: A k-gated policy, an SB3 model with one, or any module with gates. Of a policy it is the actor: the
            critic and its gates are no part of a k-set and may change, and so may what sets only the spread of actions.
        adapter: What is kept, as in `train_only`: "gates", "head", "biases" or "lora".

    Raises:
        TypeError: If ``network`` is none of these.
        ValueError: If it has no gates or no such adapter, their k's are computed, or ``adapter`` is unknown.
    """

    def __init__(self, network: nn.Module | BaseAlgorithm, adapter: str = "gates") -> None:
        super().__init__(network, adapter)
        self._fingerprint: Fingerprint | None = None
        self._watch: WeightsWatch | None = None

    def metadata(self, name: str) -> dict[str, Any]:
        """A copy of what was noted beside a k-set."""
        return dict(self._find(name).metadata)

    def capture(self, name: str, metadata: Mapping[str, Any] | None = None, *, overwrite: bool = False) -> None:
        """Keep the network's present k's under ``name``; arguments and errors are those of `add`."""
        own = self._parameters()
        k = torch.cat([parameter.detach().reshape(-1).to(own[0].device) for parameter in own])
        self.add(name, k, metadata, overwrite=overwrite)

    def capture_from(
        self,
        student: StudentPolicy,
        observation: Any,
        state: Any,
        name: str,
        metadata: Any = None,
        *,
        overwrite: bool = False,
    ) -> None:
        """Keep the k's that a student acts by now, for the plain policy with its layers: its own or its teacher's `at`.

        Observation and state are those of `StudentPolicy.at`; all else is as in `add`, and so are the errors. The state
        must not be None: a student that has seen nothing has inferred nothing.
        """
        self.check_gates("capture_from")
        if state is None:
            raise ValueError("state must be what predict returned before the observation, got None")
        inferred = Battery(student.at(observation, state))
        fingerprint(self.network).check(fingerprint(inferred.network), "a student's k-set was to be kept")
        inferred.capture("now")
        self.add(name, inferred["now"], metadata, overwrite=overwrite)

    def add(
        self, name: str, k: torch.Tensor, metadata: Mapping[str, Any] | None = None, *, overwrite: bool = False
    ) -> None:
        """Keep k's that come from elsewhere, as from a prediction.

        Args:
            name: Any text but the empty one and ``"__metadata__"``.
            k: The k's of all gates in order, shape ``(n_k,)``, finite in the gates' dtypes; or another adapter's
                numbers, in the order of `nb_agents.adapters.kind.Adapter.parameters`.
            metadata: Notes to keep beside it, as the task; anything that JSON can hold.
            overwrite: Whether a k-set of this name may be replaced.

        Raises:
            TypeError: If an argument is not of its kind.
            ValueError: If ``name`` is taken or not allowed, ``k`` has another shape or is not finite.
            FingerprintError: If the network's weights are not those that the other k-sets belong to.
        """
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, got {name!r}")
        if name in ("", "__metadata__"):
            raise ValueError(f"name must be neither empty nor '__metadata__', got {name!r}")
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise ValueError(f"name must be text that UTF-8 can hold, got {name!r}")
        if name in self._sets and not check_flag("overwrite", overwrite):
            raise ValueError(f"name {name!r} is taken; pass overwrite=True to replace its k-set")
        k = self._checked(name, k)
        noted = k_set_file.plain(metadata)
        self._check_weights()
        self._sets[name] = KSet(k, self._parts(k), noted)

    def apply(self, name: str) -> None:
        """Give the network the k's of ``name``, in place: optimizers and hooks stay with their parameters.

        Raises:
            KeyError: If there is no such k-set.
            FingerprintError: If the weights have changed since the k-sets were taken. The k's are as before then.
        """
        parts = self._find(name).parts
        self._check_weights()
        with torch.no_grad():
            for parameter, part in zip(self._parameters(), parts, strict=True):
                parameter.copy_(part)

    def remove(self, name: str) -> None:
        """Forget a k-set.

        Raises:
            KeyError: If there is no such k-set.
        """
        self._find(name)
        del self._sets[name]

    def interpolate(self, first: str, second: str, t: float, name: str, *, overwrite: bool = False) -> None:
        """Keep ``(1 - t) k_first + t k_second`` under ``name``.

        The straight line is in k, so the gates φ(k) follow a sigmoid's course between the two, or that of their kind.

        Args:
            first: The k-set at t = 0.
            second: The k-set at t = 1.
            t: Any finite number; outside [0, 1] it extrapolates.
            name: Name of the new k-set.
            overwrite: Whether a k-set of this name may be replaced.

        Raises:
            KeyError: If ``first`` or ``second`` does not exist.
            TypeError: If ``t`` is not a number, or the adapter is "lora", whose products no such line joins.
            ValueError: If ``t`` is not finite or ``name`` is taken.
            FingerprintError: As `add`.
        """
        if self._kind.why_no_line:
            raise TypeError(f"interpolate takes no sets of {self.adapter!r}: {self._kind.why_no_line}")
        ends, t = (self._find(first).k, self._find(second).k), check_number("t", t)
        if abs(t) > torch.finfo(ends[0].dtype).max:
            raise ValueError(f"t must be finite in {ends[0].dtype}, the dtype of the k's, got {t}")
        self.add(name, torch.lerp(*ends, t), {"first": first, "second": second, "t": t}, overwrite=overwrite)

    @contextmanager
    def per_row(self, rows: Sequence[str] | Sequence[int] | torch.Tensor) -> Iterator[None]:
        """Within the context, each row of a batch passes through the gates of its own k-set.

        It is for acting: the gates are computed once, at the start, and no gradient reaches the k's. The network's
        own k's are untouched.

        Args:
            rows: Name of a k-set, or its index in the order of the names, for each row of the batches to come;
                length ``batch``.

        Raises:
            KeyError: If there is no k-set of a name.
            TypeError: If ``rows`` holds something else than names or integers, or the adapter is not "gates".
            ValueError: If ``rows`` is empty or not one-dimensional, an index is out of range, or, in the forward pass,
                the batch has another length.
            FingerprintError: As `apply`.
        """
        self.check_gates("per_row")
        names, index = distinct(rows, list(self))
        k_sets = [self._find(name).parts for name in names]
        self._check_weights()
        with gates_per_row(list(self.gates.values()), k_sets, index):
            yield

    def verify(self) -> Fingerprint:
        """Compute the network's fingerprint anew, compare it, and return it.

        Raises:
            FingerprintError: If the k-sets belong to another.
        """
        found = fingerprint(self.network, self._kind)
        if self._sets and self._fingerprint is not None:
            self._fingerprint.check(found, "these k-sets were taken")
        self._fingerprint, self._watch = found, WeightsWatch(self.network, self._kind)
        return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all k-sets and the network's fingerprint to a safetensors file, at once or not at all.

        Raises:
            ImportError: If safetensors is not installed.
            ValueError: If there is no k-set.
            FingerprintError: As `apply`.
        """
        if not self._sets:
            raise ValueError("there is no k-set to save: capture one first")
        k_set_file.write(path, self.verify(), self._sets)

    @classmethod
    def load(cls, path: str | os.PathLike[str], network: nn.Module | BaseAlgorithm, adapter: str = "gates") -> Battery:
        """The battery of a file, for the network that it was written for; no code from the file is run.

        Args:
            path: A file that `save` wrote.
            network: Network as in the constructor. It is not changed: `apply` a k-set to change it.
            adapter: What is kept, as in the constructor.

        Raises:
            ImportError: If safetensors is not installed.
            OSError: If the file cannot be read.
            TypeError: As the constructor.
            ValueError: If the file is truncated, damaged or of another kind, or holds what `add` refuses.
            FingerprintError: If it was written for another network or adapter, or for this one with other weights.
        """
        battery = cls(network, adapter)
        written, k_sets = k_set_file.read(path)
        written.check(battery.verify(), f"{os.fspath(path)!r} was written")
        try:
            for name, (k, metadata, dynamics) in k_sets.items():
                battery.add(name, k, metadata)
                battery._sets[name] = replace(battery._sets[name], dynamics=dynamics)
        except (TypeError, ValueError) as error:
            raise not_whole(path, error) from None
        return battery

    def export(self, name: str, folder: str | os.PathLike[str]) -> None:
        """Write a set of low-rank adapters as peft's own files, which peft loads into the policy without adapters.

        There they act as here where the gates are 1: a plain policy has none.

        The errors are those of `nb_agents.battery.peft_folder.write`, and a TypeError for other adapters.
        """
        numbers = self._only_lora("export", self._find(name).parts)
        peft_folder.write(folder, self.network, numbers, self.verify())

    def add_exported(
        self, folder: str | os.PathLike[str], name: str, metadata: Mapping[str, Any] | None = None,
        *, overwrite: bool = False,
    ) -> None:  # fmt: skip
        """Keep a set of low-rank adapters from peft's files, which `export` or peft wrote; all else is as in `add`.

        The errors are those of `nb_agents.battery.peft_folder.read` and `add`, and a TypeError for other adapters.
        """
        own = self._only_lora("add_exported", self._parameters())
        read = peft_folder.read(folder, self.network, own, fingerprint(self.network, self._kind))
        self.add(name, torch.cat([part.flatten() for part in read.values()]), metadata, overwrite=overwrite)

    def _checked(self, name: str, k: Any) -> torch.Tensor:
        """A copy of ``k`` of the gates' kind, or the other adapter's."""
        if not isinstance(k, torch.Tensor) or not k.is_floating_point():
            raise TypeError(f"k of {name!r} must be a floating-point tensor, got {k!r}")
        if k.shape != (self.n_k,):
            raise ValueError(f"k of {name!r} must have shape ({self.n_k},), got {tuple(k.shape)}")
        own = self._parameters()
        dtype = reduce(torch.promote_types, (parameter.dtype for parameter in own))  # holds all of them exactly
        kept = k.detach().to(own[0].device, dtype).clone()
        for parameter, part in zip(own, self._parts(kept), strict=True):
            if not part.to(parameter.dtype).isfinite().all():  # also what is finite in a wider dtype only
                raise ValueError(f"k of {name!r} must be finite in {parameter.dtype}, the dtype of its parameter, got "
                                 f"{k.tolist()[:10]}")  # fmt: skip
        return kept

    def _check_weights(self) -> None:
        if self._watch is None or not self._watch.unchanged():
            self.verify()
