"""k-gated policies for Stable-Baselines3: move a trained policy to other dynamics by changing a few numbers."""

import contextlib
from importlib.metadata import version

from nb_agents._old_names import keep_old_names
from nb_agents.adaptation.keep_best import KeepBest
from nb_agents.adaptation.search import Found, search_k
from nb_agents.adapters.report import AdapterSize, describe_adapters
from nb_agents.battery.battery import Battery, FingerprintError
from nb_agents.battery.geometry import EffectiveDimensions, effective_dimensions
from nb_agents.battery.transitions import Transitions
from nb_agents.comparison import Compared, compare
from nb_agents.export.onnx import DeterministicPolicy, export_onnx
from nb_agents.fleet import fleet, fleet_battery
from nb_agents.gates.clamped import ClampedKGate
from nb_agents.gates.film import FiLMGate
from nb_agents.gates.gate import KGate, named_gates
from nb_agents.gates.k_target import KTarget
from nb_agents.gates.presets import PAPER
from nb_agents.gates.signed import SignedKGate
from nb_agents.inference.distill import distill
from nb_agents.inference.row_k_target import ContextDifficulty
from nb_agents.inference.student import StudentPolicy
from nb_agents.inference.turning import Turned, turn_around
from nb_agents.policies.mixin import KGatedMixin
from nb_agents.policies.sb3 import (
    ActorAndCriticsGates,
    ActorCriticGates,
    KGatedCnnPolicy,
    KGatedDQNCnnPolicy,
    KGatedDQNMultiInputPolicy,
    KGatedDQNPolicy,
    KGatedMultiInputPolicy,
    KGatedPolicy,
    KGatedSACCnnPolicy,
    KGatedSACMultiInputPolicy,
    KGatedSACPolicy,
    KGatedTD3CnnPolicy,
    KGatedTD3MultiInputPolicy,
    KGatedTD3Policy,
    QNetworkGates,
)
from nb_agents.recipe.dagger import collect
from nb_agents.recipe.trainer import NeuralBatteryPolicy, NeuralBatteryTrainer
from nb_agents.surgery.fold import fold_gates
from nb_agents.surgery.insert import insert_gates
from nb_agents.surgery.one_context import at
from nb_agents.surgery.retrofit import retrofit
from nb_agents.surgery.searching import guess, searching
from nb_agents.surgery.weights import FoldError
from nb_agents.tracking.callback import KGateCallback
from nb_agents.tracking.history import GateHistory
from nb_agents.transfer import Transfer, transfer
from nb_agents.vec_env.adapter import VectorEnvAdapter
from nb_agents.vec_env.row_normalize import RowNormalize
from nb_agents.vec_env.rows import RowObservation

with contextlib.suppress(ImportError):  # sb3-contrib is an extra; its algorithms know our policies by name from here on
    from nb_agents import contrib as contrib

keep_old_names()

__all__ = [
    "PAPER", "ActorAndCriticsGates", "ActorCriticGates", "AdapterSize", "Battery", "ClampedKGate", "Compared",
    "ContextDifficulty", "DeterministicPolicy", "EffectiveDimensions", "FiLMGate", "FingerprintError", "FoldError",
    "Found", "GateHistory", "KGate", "KGateCallback", "KGatedCnnPolicy", "KGatedDQNCnnPolicy",
    "KGatedDQNMultiInputPolicy", "KGatedDQNPolicy", "KGatedMixin", "KGatedMultiInputPolicy", "KGatedPolicy",
    "KGatedSACCnnPolicy", "KGatedSACMultiInputPolicy", "KGatedSACPolicy", "KGatedTD3CnnPolicy",
    "KGatedTD3MultiInputPolicy", "KGatedTD3Policy", "KTarget", "KeepBest", "NeuralBatteryPolicy",
    "NeuralBatteryTrainer", "QNetworkGates", "RowNormalize", "RowObservation", "SignedKGate", "StudentPolicy",
    "Transfer", "Transitions", "Turned", "VectorEnvAdapter", "at", "collect", "compare", "describe_adapters", "distill",
    "effective_dimensions", "export_onnx", "fleet", "fleet_battery", "fold_gates", "guess", "insert_gates",
    "named_gates", "retrofit", "search_k", "searching", "transfer", "turn_around",
]  # fmt: skip

__version__: str


def __getattr__(name: str) -> str:
    """`__version__` is that of the installed distribution, looked up when it is asked for."""
    if name == "__version__":
        return version("neural-battery")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
