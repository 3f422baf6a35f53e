"""What makes an SB3 policy a k-gated one: gates in its networks, the k-target, and a learning rate of the k's own."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import nn

from nb_agents._checks import check_flag, check_number
from nb_agents.gates.gate import ACTIVATIONS, KGate, named_gates
from nb_agents.gates.k_target import KTarget
from nb_agents.gates.kind import gate_arguments
from nb_agents.inference.conditioned import condition, conditioned_nets
from nb_agents.inference.context import context_numbers
from nb_agents.inference.fixed import state_at, without_part
from nb_agents.inference.k_net import KNet, check_k_net
from nb_agents.inference.parts import check_k_from, feature_parts
from nb_agents.inference.row_k_target import Difficulty, RowKTarget
from nb_agents.policies.bare import bare_class
from nb_agents.policies.low_rank import adapt_layers, check_lora
from nb_agents.policies.optim import optimized_parts, prefer_fused, two_rates
from nb_agents.policies.parts import gated_part
from nb_agents.policies.placing import gate_sequential
from nb_agents.policies.train_only import TrainOnlyMixin
from nb_agents.policies.usage import (
    check_algorithm,
    check_backward,
    check_normalization,
    check_normalization_again,
    check_observations,
)


class KGatedMixin(TrainOnlyMixin):
    """Gives an SB3 policy k-gates, the k-target regulariser and a second learning rate; put it first in the bases.

    SB3 builds its networks in overridable hooks, before it makes the optimizers. The mixin gates what those hooks
    return and, when the policy stands, replaces each optimizer by one with a group for the k's. SB3's ``learn()`` and
    ``train()`` are untouched.

    The defaults are those with which a policy learns as without gates. The paper's are `nb_agents.PAPER`:
    ``policy_kwargs={**PAPER, "block_size": 16}``.

    Args:
        *args: Positional arguments of the SB3 policy.
        block_size: Units per block gate (NB Pro); None for layer gates alone (NB).
        block_weight: Weight of a block's gate beside the layer's, >= 0.
        gate_max: Bound that every gate stays below, > 0; a gate is half of it where k = 0. None for the paper's gate.
        k_init: Start value of every k; None for the kind's own. At 0, that of the default kind, and with
            ``gate_max=2.0`` the new policy computes what SB3's own does.
        gate_class: Kind of the gates, a subclass of `KGate` with a formula of its own.
        k_lr_ratio: Learning rate of the k's, of f and of low-rank adapters over that of the weights, at every update,
            >= 0.
        k_target: Target of the k-target regulariser, >= 0; the effective target is ``k_target · (0.5 + 0.3 τ)``.
        k_target_weight: Weight of its loss, >= 0; 0 for no k-target. In a loop of your own with a gradient scaler, or
            without ``backward()``, add the loss yourself, see `nb_agents.KTarget`.
        task_difficulty: Difficulty τ in [0, 1]; also a property that can be set, saved with the parameters. With
            ``k_from`` it may be a function that gives τ of each row of the part, as a `ContextDifficulty` does.
        gate_critic: Whether the critic's hidden layers are gated too.
        k_from: Part of the observation that the k's are computed from, row by row: k = k0 + f(part). The actor's layers
            see the rest, the critic everything. It is a key of a dictionary, or a part of a flat observation, as
            `nb_gym.wrappers` make them. None for k's that are parameters alone. A `VecNormalize` must leave it alone:
            with a dictionary and ``norm_obs_keys`` it standardises the rest. () for no part: k = k0 + f(), which has
            parameters of its own, as `nb_agents.searching` makes it.
        k_net: f: hidden units layer by layer, () for a linear one, or a function that makes a module of its numbers of
            inputs and outputs.
        lora_rank: Rank of low-rank adapters (LoRA) on the actor's linear and convolutional layers, by the package
            ``peft``, >= 1; None for none. They begin at 0, and have the learning rate of the k's.
        lora_alpha: peft's α, > 0: the adapters' products are multiplied by α over the rank. None for twice the rank.
        **kwargs: Further arguments of the SB3 policy.

    Raises:
        ImportError: If there is a ``lora_rank``, and peft is not installed.
        TypeError: If an argument is not of its kind, or the policy is for another algorithm or other observations.
        ValueError: If one is out of its range, or there is a ``lora_rank`` beside ``k_from`` or in ARS.

    Warns:
        UserWarning: If there is no hidden layer to gate: SB3 builds such networks, and so does this.
    """

    def __init__(
        self,
        *args: Any,
        block_size: int | None = 16,
        block_weight: float = 0.3,
        gate_max: float | None = 2.0,
        k_init: float | None = None,
        gate_class: type[KGate] = KGate,
        k_lr_ratio: float = 5.0,
        k_target: float = 0.3,
        k_target_weight: float = 0.0,
        task_difficulty: float | Difficulty = 0.0,
        gate_critic: bool = False,
        k_from: str | tuple[()] | None = None,
        k_net: KNet = (32,),
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        **kwargs: Any,
    ) -> None:
        check_algorithm(self)
        check_observations(self, args, kwargs)
        self._gate_kwargs = gate_arguments(gate_class, block_size, block_weight, gate_max, k_init)
        self.k_lr_ratio = check_number("k_lr_ratio", k_lr_ratio, low=0.0)
        self.gate_critic = check_flag("gate_critic", gate_critic)
        self.k_net = check_k_net(k_net)
        self.k_from = check_k_from(k_from, k_net)
        lora = check_lora(lora_rank, lora_alpha, k_from)
        regularizer = self._k_target(k_target, k_target_weight, task_difficulty, k_from)
        super().__init__(*args, **kwargs)
        self._finish_networks()
        computed: set[KGate] = set()
        for network in conditioned_nets(self):  # type: ignore[arg-type]
            network.start()  # SB3's orthogonal initialisation has reached f, too
            if isinstance(regularizer, RowKTarget):
                network.k_targets.append(regularizer)
            computed |= set(network.gates)
        if k_from is not None and not computed:
            raise ValueError(f"k_from must be None in a {type(self).__name__}, whose k's are parameters alone; "
                             f"got {k_from!r}")  # fmt: skip
        self.regularizer = regularizer
        if not self.gates:
            warnings.warn("net_arch has no hidden layer that could be gated: the policy is a plain one", stacklevel=2)
        for gate in self.gates.values():
            if gate not in computed:
                gate.regularizers.append(regularizer)
        self.lora_rank: int | None = lora[0]
        self.lora_alpha: float | None = lora[1]
        self._split_learning_rates([] if lora[0] is None else adapt_layers(self, *lora))

    def _k_target(self, target: float, weight: float, difficulty: Any, k_from: Any) -> KTarget:
        check_normalization(self, k_from)
        if not k_from:
            return KTarget(target, weight, difficulty)
        self._check_difficulty(difficulty)
        regularizer = RowKTarget(target, weight, difficulty)
        if regularizer.weight:
            check_backward(self)
        return regularizer

    def _check_difficulty(self, difficulty: Any) -> None:
        if callable(difficulty) and self.k_from and self.gate_critic:
            raise ValueError("task_difficulty must be a number with gate_critic: the critic's k's are no function")

    @property
    def gates(self) -> dict[str, KGate]:
        """The gates that train, by path and in the order of the modules: all but those of target networks."""
        every = named_gates(self)  # type: ignore[arg-type]
        return {name: gate for name, gate in every if not name.split(".")[0].endswith("_target")}

    @property
    def task_difficulty(self) -> float:
        """τ of the k-target regulariser, in [0, 1]; set it when the task changes.

        With ``k_from`` it may be set to a function, too, and a number takes the place of one. ``model.save`` keeps
        functions in ``policy_kwargs`` alone.
        """
        return self.regularizer.task_difficulty

    # nn.Module's __setattr__ leaves properties of the class alone, so this setter is reached.
    @task_difficulty.setter
    def task_difficulty(self, value: float | Difficulty) -> None:
        self._check_difficulty(value)
        self.regularizer.task_difficulty = value  # type: ignore[assignment]

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        if f"{prefix}regularizer._extra_state" not in state_dict and self._wrote(state_dict, prefix):
            self.regularizer.reset_extra_state()
        super()._load_from_state_dict(state_dict, prefix, *args)
        written = state_dict.get(f"{prefix}_extra_state")
        if self._gate_kwargs["gate_max"] is not None and getattr(written, "dtype", None) is torch.uint8:
            # Files have held no integers since gates have had a maximum; these k's would mean other gates here.
            args[-1].append(
                "the k's were saved when all gates were the paper's: pass policy_kwargs={**nb_agents.PAPER, ...}, to "
                'SB3\'s load as custom_objects={"policy_kwargs": {**PAPER, ...}}'
            )

    def at(self, context: ArrayLike | Mapping[str, float]) -> Any:
        """The policy in one context: a plain k-gated one, which sees the observations without it.

        Where one entry of a dictionary is left, the policy sees it by itself and is one for vectors or images.

        It acts, and its critic values, as this one does where the context is the same; it folds, exports, and is kept
        in a battery. `nb_agents.at` makes a model of it, to go on learning with `train_only`.

        Args:
            context: Numbers of the part ``k_from``, as the policy observes them; or values by the parameters' names, as
                in ``info["context"]``, where the observation is that of `nb_gym.wrappers.ContextObservation`. One that
                is far outside the ranges which scale it is said through Gymnasium's logger.

        Raises:
            TypeError: If the context holds something else than numbers.
            ValueError: If the policy's k's are not computed, or the context does not fit it.
        """
        if not self.k_from:
            raise ValueError("k_from must be a part of the observation, but the policy's k's are parameters alone")
        context = context_numbers(self, context)
        made, reads = bare_class(self)
        arguments = {**self._get_constructor_parameters(), **reads, "k_from": None}
        arguments["observation_space"] = without_part(arguments["observation_space"], self.k_from)
        arguments["task_difficulty"] = self.task_difficulty
        with torch.random.fork_rng(devices=[]):
            policy: Any = made(**arguments)
        policy.load_state_dict(state_at(self, policy, context))  # type: ignore[arg-type]
        if isinstance(self.regularizer, RowKTarget):
            policy.task_difficulty = self.regularizer.at(context)
        return policy.to(self.device)  # type: ignore[attr-defined]

    def set_training_mode(self, mode: bool) -> None:
        """See SB3's, which calls it before every rollout and update: the environment may be another one by then."""
        check_normalization_again(self, self.k_from)
        super().set_training_mode(mode)  # type: ignore[misc]

    def _gate(self, network: nn.Module, *, gate_last: bool) -> None:
        gate_sequential(network, gate_last=gate_last, activations=self._activations(), **self._gate_kwargs)

    def _gate_values(self, network: Any, layers: str) -> Any:
        """Gate a network of action values, whose layers are under that name."""
        self._gate(network.features_extractor, gate_last=True)
        self._gate(getattr(network, layers), gate_last=False)
        self._condition(network, layers, network.features_extractor)
        return gated_part(network)

    def _condition(self, owner: Any, name: str, extractor: nn.Module) -> None:
        """Let the gates of ``owner.name`` take their k's from a part of the features, if they are to."""
        if self.k_from is not None:
            space: Any = self.observation_space  # type: ignore[attr-defined]
            width = getattr(extractor, "features_dim", 0)
            parts = feature_parts(space, extractor) if self.k_from else {"observation": slice(0, width)}
            setattr(owner, name, condition(getattr(owner, name), parts, self.k_from, self.k_net))

    def _activations(self) -> tuple[type[nn.Module], ...]:
        """Classes of what counts as an activation, that of ``activation_fn`` included."""
        made = getattr(self, "activation_fn", nn.ReLU)
        if not isinstance(made, type):  # SB3 only calls it: a partial or a function of no arguments does, too
            with torch.random.fork_rng(devices=[]):
                made = type(made())
        is_container = not issubclass(made, nn.Module) or issubclass(made, nn.Sequential)
        return ACTIVATIONS if is_container else (*ACTIVATIONS, made)

    def _finish_networks(self) -> None:
        """Gate what the SB3 class builds in its constructor and not in a hook; most classes need nothing here."""

    def _split_learning_rates(self, adapters: list[nn.Parameter]) -> None:
        ks = [*(gate.k for gate in self.gates.values()), *adapters]
        ks += [p for net in conditioned_nets(self) for p in net.k_net.parameters()]  # type: ignore[arg-type]
        scaled: dict[torch.optim.Optimizer, torch.optim.Optimizer] = {}
        for part in optimized_parts(self).values():
            if ks:  # the critic's too, which may hold no k: what the actor's gates cost is saved there as well
                prefer_fused(part.optimizer)
            if part.optimizer not in scaled:  # two parts may share one
                scaled[part.optimizer] = two_rates(part.optimizer, ks, self.k_lr_ratio)
            part.optimizer = scaled[part.optimizer]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data: dict[str, Any] = super()._get_constructor_parameters()  # type: ignore[misc]
        if hasattr(self, "share_features_extractor"):
            # Some SB3 classes leave this one out, and a policy saved by itself could not be rebuilt.
            data["share_features_extractor"] = self.share_features_extractor
        return {
            **data,
            **self._gate_kwargs,
            "k_lr_ratio": self.k_lr_ratio,
            "k_target": self.regularizer.target,
            "k_target_weight": self.regularizer.weight,
            "task_difficulty": getattr(self.regularizer, "difficulty", None) or self.task_difficulty,
            "gate_critic": self.gate_critic,
            "k_from": self.k_from,
            "k_net": self.k_net,
            "lora_rank": self.lora_rank,
            "lora_alpha": self.lora_alpha,
        }
