"""Names under which earlier versions saved: pickle finds today's classes by them."""

import pickle

import pytest
import torch

import nb_agents
from nb_agents import maml
from nb_agents.maml.updates.base import MetaParameters
from nb_agents.policies.optim import RatioMixin
from nb_agents.policies.parts import GatedPart
from nb_agents.policies.train_only import HeldParameter
from nb_agents.recipe.dagger import Episode
from nb_agents.recipe.trainer import Losses
from nb_agents.vec_env.infos import MaskedReset

OLD = {
    "nb_agents.adaptation HeldParameter": HeldParameter,
    "nb_agents.battery Battery": nb_agents.Battery,
    "nb_agents.callbacks KGateCallback": nb_agents.KGateCallback,
    "nb_agents.dagger Episode": Episode,
    "nb_agents.dagger collect": nb_agents.collect,
    "nb_agents.export DeterministicPolicy": nb_agents.DeterministicPolicy,
    "nb_agents.gates KGate": nb_agents.KGate,
    "nb_agents.history GateHistory": nb_agents.GateHistory,
    "nb_agents.k_target KTarget": nb_agents.KTarget,
    "nb_agents.maml.outer MetaParameters": MetaParameters,
    "nb_agents.maml.ppo_clip PPOClip": maml.PPOClipUpdate,
    "nb_agents.maml.reptile ReptileStep": maml.ReptileUpdate,
    "nb_agents.maml.trpo TRPO": maml.TRPOUpdate,
    "nb_agents.policies KGatedPolicy": nb_agents.KGatedPolicy,
    "nb_agents.policies KGatedDQNCnnPolicy": nb_agents.KGatedDQNCnnPolicy,
    "nb_agents.recipe Losses": Losses,
    "nb_agents.recipe NeuralBatteryTrainer": nb_agents.NeuralBatteryTrainer,
    "nb_agents.recipe_policy ClampedKGate": nb_agents.ClampedKGate,
    "nb_agents.recipe_policy NeuralBatteryPolicy": nb_agents.NeuralBatteryPolicy,
    "nb_agents.surgery insert_gates": nb_agents.insert_gates,
    "nb_agents.vec_env VectorEnvAdapter": nb_agents.VectorEnvAdapter,
    "nb_agents.vec_infos MaskedReset": MaskedReset,
}


@pytest.mark.parametrize("old", OLD)
def test_pickle_finds_todays_class_by_its_old_name(old):
    module, name = old.split()
    assert pickle.loads(f"c{module}\n{name}\n.".encode()) is OLD[old]


def test_classes_that_are_made_at_run_time_are_made_again():
    optimizer = pickle.loads(b"cnb_agents.optim\n_blank\n(ctorch.optim.adam\nAdam\ntR.")
    assert isinstance(optimizer, RatioMixin)
    assert isinstance(optimizer, torch.optim.Adam)
    actor = pickle.loads(b"cnb_agents.parts\n_blank\n(cstable_baselines3.sac.policies\nActor\ntR.")
    assert isinstance(actor, GatedPart)
    assert type(actor).plain_class.__name__ == "Actor"


def test_a_name_that_never_was_is_refused():
    with pytest.raises(AttributeError, match="'Trpo'"):
        pickle.loads(b"cnb_agents.maml.trpo\nTrpo\n.")
    with pytest.raises(ModuleNotFoundError, match=r"nb_agents\.maml\.dreamer"):
        pickle.loads(b"cnb_agents.maml.dreamer\nDreamer\n.")
