"""k-gated policies for sb3-contrib: TQC, CrossQ, QR-DQN, TRPO, ARS, RecurrentPPO and MaskablePPO.

TRPO's actor is updated by a natural gradient with a line search and ARS's by finite differences: neither has a learning
rate or a backward pass that the k's could be treated differently in, so there the gates train like every other
parameter, and `k_lr_ratio` and the k-target act on TRPO's gated value network only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

try:
    from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, MaskablePPO, RecurrentPPO
    from sb3_contrib.ars.policies import ARSPolicy
    from sb3_contrib.common.maskable.policies import (
        MaskableActorCriticCnnPolicy,
        MaskableActorCriticPolicy,
        MaskableMultiInputActorCriticPolicy,
    )
    from sb3_contrib.common.recurrent.policies import (
        RecurrentActorCriticCnnPolicy,
        RecurrentActorCriticPolicy,
        RecurrentMultiInputActorCriticPolicy,
    )
    from sb3_contrib.crossq.policies import CrossQPolicy
    from sb3_contrib.qrdqn.policies import CnnPolicy as QRDQNCnnPolicy
    from sb3_contrib.qrdqn.policies import MultiInputPolicy as QRDQNMultiInputPolicy
    from sb3_contrib.qrdqn.policies import QRDQNPolicy, QuantileNetwork
    from sb3_contrib.tqc.policies import CnnPolicy as TQCCnnPolicy
    from sb3_contrib.tqc.policies import MultiInputPolicy as TQCMultiInputPolicy
    from sb3_contrib.tqc.policies import TQCPolicy
except ImportError as error:
    raise ImportError('nb_agents.contrib needs sb3-contrib: pip install "neural-battery[contrib]"') from error

from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from nb_agents.policies.mixin import KGatedMixin
from nb_agents.policies.sb3 import (
    ActorAndCriticsGates,
    ActorCriticGates,
    KGatedCnnPolicy,
    KGatedMultiInputPolicy,
    KGatedPolicy,
)
from nb_agents.policies.usage import offer


class KGatedTQCPolicy(ActorAndCriticsGates, TQCPolicy):
    """k-gated policy for TQC."""


class KGatedTQCCnnPolicy(ActorAndCriticsGates, TQCCnnPolicy):
    """`KGatedTQCPolicy` for images."""


class KGatedTQCMultiInputPolicy(ActorAndCriticsGates, TQCMultiInputPolicy):
    """`KGatedTQCPolicy` for dictionary observations."""


class KGatedCrossQPolicy(ActorAndCriticsGates, CrossQPolicy):
    """k-gated policy for CrossQ; gates stand behind its batch renormalisation, which would undo them."""


class QuantileNetworkGates(KGatedMixin):
    """Gates for QR-DQN: its quantile network is the policy, so it is gated whatever ``gate_critic`` says."""

    head_part = "quantile_net.quantile_net"

    def make_quantile_net(self) -> QuantileNetwork:
        """sb3-contrib's quantile network with its hidden layers gated."""
        return self._gate_values(super().make_quantile_net(), "quantile_net")  # type: ignore[misc,no-any-return]


class KGatedQRDQNPolicy(QuantileNetworkGates, QRDQNPolicy):
    """k-gated policy for QR-DQN."""


class KGatedQRDQNCnnPolicy(QuantileNetworkGates, QRDQNCnnPolicy):
    """`KGatedQRDQNPolicy` for images."""


class KGatedQRDQNMultiInputPolicy(QuantileNetworkGates, QRDQNMultiInputPolicy):
    """`KGatedQRDQNPolicy` for dictionary observations."""


class OnlyWhatTrains:
    """Leaves frozen parameters out of a policy's ``named_parameters()`` and ``parameters()``; `state_dict` has them.

    TRPO differentiates by all that it finds there, which PyTorch refuses for frozen ones.
    """

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Those that train; see `torch.nn.Module.named_parameters`."""
        every: Iterator[tuple[str, nn.Parameter]] = super().named_parameters(*args, **kwargs)  # type: ignore[misc]
        return ((name, parameter) for name, parameter in every if parameter.requires_grad)


class KGatedTRPOPolicy(OnlyWhatTrains, KGatedPolicy):
    """k-gated policy for TRPO, which takes `nb_agents.KGatedPolicy` too as long as everything trains."""


class KGatedTRPOCnnPolicy(OnlyWhatTrains, KGatedCnnPolicy):
    """`KGatedTRPOPolicy` for images."""


class KGatedTRPOMultiInputPolicy(OnlyWhatTrains, KGatedMultiInputPolicy):
    """`KGatedTRPOPolicy` for dictionary observations."""


class KGatedARSPolicy(KGatedMixin, ARSPolicy):
    """k-gated policy for ARS, which perturbs the k's along with the weights."""

    def _finish_networks(self) -> None:
        self._gate(self.action_net, gate_last=False)


class RecurrentGates(ActorCriticGates):
    """Gates for recurrent actor-critic policies: the layers behind the LSTM are gated, the LSTM is not."""

    def _condition(self, owner: Any, name: str, extractor: nn.Module) -> None:
        if self.k_from is not None:
            raise ValueError("k_from must be None in RecurrentPPO, whose gated layers see an LSTM's output and no part "
                             f"of the observation; got {self.k_from!r}")  # fmt: skip

    def _get_constructor_parameters(self) -> dict[str, Any]:
        # sb3-contrib leaves these out, and a policy saved by itself could not be rebuilt.
        lstm = self.lstm_actor  # type: ignore[attr-defined]
        return super()._get_constructor_parameters() | {
            "lstm_hidden_size": lstm.hidden_size,
            "n_lstm_layers": lstm.num_layers,
            "shared_lstm": self.shared_lstm,  # type: ignore[attr-defined]
            "enable_critic_lstm": self.enable_critic_lstm,  # type: ignore[attr-defined]
            "lstm_kwargs": self.lstm_kwargs,  # type: ignore[attr-defined]
        }


class KGatedRecurrentPolicy(RecurrentGates, RecurrentActorCriticPolicy):
    """k-gated policy for RecurrentPPO."""


class KGatedRecurrentCnnPolicy(RecurrentGates, RecurrentActorCriticCnnPolicy):
    """`KGatedRecurrentPolicy` for images."""


class KGatedRecurrentMultiInputPolicy(RecurrentGates, RecurrentMultiInputActorCriticPolicy):
    """`KGatedRecurrentPolicy` for dictionary observations."""


class KGatedMaskablePolicy(ActorCriticGates, MaskableActorCriticPolicy):
    """k-gated policy for MaskablePPO."""


class KGatedMaskableCnnPolicy(ActorCriticGates, MaskableActorCriticCnnPolicy):
    """`KGatedMaskablePolicy` for images."""


class KGatedMaskableMultiInputPolicy(ActorCriticGates, MaskableMultiInputActorCriticPolicy):
    """`KGatedMaskablePolicy` for dictionary observations."""


offer(TQCPolicy, (TQC,), KGatedTQCPolicy, KGatedTQCCnnPolicy, KGatedTQCMultiInputPolicy)
offer(CrossQPolicy, (CrossQ,), KGatedCrossQPolicy)
offer(QRDQNPolicy, (QRDQN,), KGatedQRDQNPolicy, KGatedQRDQNCnnPolicy, KGatedQRDQNMultiInputPolicy)
offer(ActorCriticPolicy, (TRPO,), KGatedTRPOPolicy, KGatedTRPOCnnPolicy, KGatedTRPOMultiInputPolicy, backward=False)
offer(ARSPolicy, (ARS,), KGatedARSPolicy)
offer(
    RecurrentActorCriticPolicy,
    (RecurrentPPO,),
    KGatedRecurrentPolicy,
    KGatedRecurrentCnnPolicy,
    KGatedRecurrentMultiInputPolicy,
)
offer(
    MaskableActorCriticPolicy,
    (MaskablePPO,),
    KGatedMaskablePolicy,
    KGatedMaskableCnnPolicy,
    KGatedMaskableMultiInputPolicy,
)
