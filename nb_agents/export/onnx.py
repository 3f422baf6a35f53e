"""A trained policy as an ONNX file: observation in, action out, no Python needed to run it."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import nn
from torch.distributions import Distribution

from nb_agents._checks import check_flag
from nb_agents._objects import free_name, uncompiled
from nb_agents.battery.battery import Battery
from nb_agents.battery.per_row import gates_of
from nb_agents.export.k_input import check_k_input
from nb_agents.export.observation_steps import OBS, observation_steps
from nb_agents.export.student import StudentStep
from nb_agents.gates.gate import KGate, named_gates
from nb_agents.inference.acting import into_space
from nb_agents.inference.student import StudentPolicy
from nb_agents.surgery.copies import copy_of
from nb_agents.surgery.fold import fold_gates
from nb_agents.surgery.weights import FoldError
from nb_evaluation.files import write_atomically


class DeterministicPolicy(nn.Module):
    """A module that computes ``model.predict(obs, deterministic=True)`` from the environment's own observations.

    It takes a batch of observations, one tensor of shape ``(batch, *observation_shape)`` or, for a dictionary space,
    one for each key in the space's order, and returns actions of shape ``(batch, *action_shape)`` in the action space's
    dtype: mode of the distribution, clipped or unscaled into the space. Gates are folded (where a gate cannot be, all
    of them stay in the module), or take their k's from one more tensor, the last one. It serves `torch.export.export`
    as well as `export_onnx`.

    Attributes:
        inputs: Name and space of every input: ``obs``, or the keys of the dictionary, and the k-sets.
        output: Name of the output: ``action``, followed by an underscore where an input is called so.
        k_input: Name of the input of k-sets, shape ``(batch, n_k)``: ``k``, followed by an underscore where an
            observation is called so; None where gates are folded.
        about: What a file says of itself: the name of that input, and whose k-sets it takes.

    Args:
        model: An SB3 model, or a policy by itself; it is left as it is.
        normalize: Choice as in `export_onnx`.
        k: Choice as in `export_onnx`.

    Raises:
        TypeError: If ``model`` is neither, or a student, or ``normalize`` is of the wrong kind.
        ValueError: If the policy is recurrent, a gate's k are not finite, or ``k`` is no choice, or not one for it.
    """

    low: torch.Tensor | None
    high: torch.Tensor | None

    def __init__(
        self, model: BaseAlgorithm | BasePolicy, normalize: VecEnv | bool = True, *, k: str = "folded"
    ) -> None:
        super().__init__()
        policy = _checked(model, normalize, k)
        self.policy: Any = (_ungated(policy) if k == "folded" else copy_of(policy)).to("cpu")
        space, steps = observation_steps(model if isinstance(model, BaseAlgorithm) else policy, normalize)
        self._is_dict = isinstance(space, spaces.Dict)
        self.inputs: dict[str, spaces.Space[Any]] = (
            dict(space.spaces) if isinstance(space, spaces.Dict) else {OBS: space}
        )
        self.k_input: str | None = None
        self.about, self._gates = dict[str, str](), list[KGate]()
        if k == "input":
            self._take_k()
        self.output = free_name("action", self.inputs)
        self._keys = [key for key, _ in steps]
        self._steps = nn.ModuleList(step for _, step in steps)
        action_space = policy.action_space
        self._dtype = torch.as_tensor(np.zeros(0, action_space.dtype)).dtype
        for bound in ("low", "high"):
            ends = getattr(action_space, bound) if isinstance(action_space, spaces.Box) else None
            self.register_buffer(bound, None if ends is None else torch.as_tensor(ends))
        self.eval()

    def _take_k(self) -> None:
        """Have the k-sets as the last input."""
        battery = Battery(self.policy)
        self._gates = list(battery.gates.values())
        own = torch.cat([gate.k.detach() for gate in self._gates]).numpy()
        self.k_input = free_name("k", self.inputs)
        self.inputs[self.k_input] = spaces.Box(-np.inf, np.inf, own.shape, own.dtype.type)
        self.about = {"k": self.k_input} | battery.verify().header()

    def example(self, batch: int = 2) -> tuple[torch.Tensor, ...]:
        """Inputs of zeros for ``batch`` observations, in the order of `inputs`."""
        return tuple(torch.as_tensor(np.zeros((batch, *(s.shape or ())), s.dtype)) for s in self.inputs.values())

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Actions, shape ``(batch, *action_shape)``."""
        obs = dict(zip(self.inputs, inputs, strict=True))
        gated = contextlib.nullcontext() if self.k_input is None else gates_of(self._gates, obs.pop(self.k_input))
        for key, step in zip(self._keys, self._steps, strict=True):
            obs[key] = step(obs[key])
        with _unvalidated_distributions(), gated:
            actions: torch.Tensor = self.policy._predict(obs if self._is_dict else obs[OBS], deterministic=True)
        policy = self.policy
        actions = into_space(actions, policy.action_space, self.low, self.high, policy.squash_output)
        return actions.to(self._dtype)


def export_onnx(
    model: BaseAlgorithm | BasePolicy,
    path: str | os.PathLike[str],
    normalize: VecEnv | bool = True,
    *,
    k: str = "folded",
) -> None:
    """Write the deterministic policy as an ONNX file, with a dynamic batch axis; gates are folded, or take k-sets.

    Inputs are the environment's own observations as batches: ``obs``, or one input for each key of a dictionary space;
    the output is ``action``, or ``action_`` where a key is called so. Contained are the transposition of images that
    SB3 added, their scaling to [0, 1], one-hot encodings, the statistics of `VecNormalize`, and the clipping or
    unscaling of actions. So for an environment with `VecNormalize` the file answers raw observations, where
    ``model.predict`` wants normalized ones.

    Observations are taken as they are before all `VecNormalize` and `VecTransposeImage` wrappers; other wrappers that
    change them, such as `VecFrameStack`, stay outside. With a frame stack around `VecNormalize` the file takes stacks
    of raw frames and normalizes each frame. Such a stack is filled up with zeros after normalization at the start of an
    episode: put the running mean of the observations, ``vec_normalize.obs_rms.mean``, where a frame is missing.

    With ``k="input"`` one file serves all tasks: the k-sets are an input ``k`` of shape ``(batch, n_k)``, one for each
    row, or ``k_`` where an observation is called so. They stay in the file of `Battery.save`, whose fingerprint is in
    the ONNX file's metadata too: `nb_runtime.Policy` takes both, compares them, and needs no PyTorch.

    A policy by itself, as `at` gives one for a context, has no environment: unless ``normalize`` is one, the file takes
    what ``policy.predict`` takes. A student's file takes and returns its state besides:
    `nb_agents.export.student.StudentStep` names inputs and outputs. The statistics that are in that file are the
    student's own, which it has from its teacher.

    Args:
        model: An SB3 model or a policy, k-gated or not, or a `StudentPolicy`; it is left as it is.
        path: The file, written at once and whole.
        normalize: True for the statistics of the model's own environment, if it has a `VecNormalize`; another
            `VecNormalize`, or a frame stack around one (a model loaded without environment has none); False for none.
        k: What becomes of the k's: "folded" for the model's own in the file, "input" for k-sets as an input.

    Raises:
        ImportError: If the packages of the extra ``onnx`` are missing.
        TypeError: If ``model`` or ``normalize`` is of the wrong kind.
        ValueError: If the policy is recurrent, a gate's k are not finite, a wrapper around `VecNormalize` does
            something unknown to observations, ``normalize`` is an environment for a student, or ``k`` is "input" for
            what computes its k's or has no gates.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError('export_onnx needs onnx and onnxscript: pip install "neural-battery[onnx]"') from error
    module: Any
    if isinstance(model, StudentPolicy):
        if isinstance(normalize, VecEnv):
            raise ValueError("normalize must be True or False for a student, which has its teacher's statistics itself")
        if k != "folded":
            raise ValueError(f"k must be 'folded' for a student, which infers its k's by itself, got {k!r}")
        module = StudentStep(model, normalize=check_flag("normalize", normalize))
        inputs, outputs = module.inputs, module.outputs
    else:
        module = DeterministicPolicy(model, normalize, k=k)
        inputs, outputs = list(module.inputs), [module.output]
    axes = tuple({0: torch.export.Dim("batch")} for _ in inputs)
    with warnings.catch_warnings(), _unvalidated_distributions():
        warnings.simplefilter("ignore")  # the exporter's own code, and inputs that share their batch axis
        program = torch.onnx.export(
            module,
            module.example(),
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=(axes[0], axes[1:]) if isinstance(module, StudentStep) else (axes,),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    _keep_names_apart(program.model.graph, {*inputs, *outputs})
    program.model.metadata_props.update(getattr(module, "about", {}))
    write_atomically(path, program.model_proto.SerializeToString())


def _keep_names_apart(graph: Any, taken: set[str]) -> None:
    """Rename values inside an ONNX graph that are called as one of its inputs or as its output.

    The exporter names them after operations (``linear``, ``val_0``) and does not look at the names that it was given.
    """
    inner = {id(value): value for node in graph for value in node.outputs}
    inner |= {id(value): value for value in graph.initializers.values()}
    for value in (*graph.inputs, *graph.outputs):
        inner.pop(id(value), None)
    names = taken | {value.name for value in inner.values()}
    for value in inner.values():
        if value.name in taken:
            initializer = graph.initializers.pop(value.name, None)
            value.name = free_name(value.name, names)
            if initializer is not None:
                graph.initializers[value.name] = value


@contextlib.contextmanager
def _unvalidated_distributions() -> Iterator[None]:
    """PyTorch's distributions look into their parameters, which no exported graph can do."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


def _checked(model: Any, normalize: Any, k: Any) -> BasePolicy:
    """The policy, if all that `DeterministicPolicy` was given is of its kind."""
    policy = uncompiled(model.policy if isinstance(model, BaseAlgorithm) else model)
    if isinstance(policy, StudentPolicy):
        raise TypeError("model must act on observations alone, and a student does not: export_onnx takes it")
    if not isinstance(policy, BasePolicy):
        raise TypeError(f"model must be a Stable-Baselines3 model or policy, got {type(model).__name__}")
    if not isinstance(normalize, (bool, VecEnv)):
        raise TypeError(f"normalize must be a VecNormalize, True or False, got {type(normalize).__name__}")
    if hasattr(policy, "lstm_actor"):
        raise ValueError("a recurrent policy has a state besides the observation and cannot be exported")
    if k not in ("folded", "input"):
        raise ValueError(f"k must be 'folded' or 'input', got {k!r}")
    if k == "input":
        check_k_input(policy)
    return policy


def _ungated(policy: BasePolicy) -> BasePolicy:
    """A copy of the policy, its gates folded if all of them can be."""
    for name, gate in named_gates(policy):
        if not gate.k.isfinite().all():
            raise ValueError(f"the k of gate {name!r} must be finite numbers, got {gate.k.flatten().tolist()[:4]} ...")
    with contextlib.suppress(FoldError):
        if any(named_gates(policy)):
            return fold_gates(policy)
    return copy_of(policy)
