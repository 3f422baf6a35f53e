"""What is changed in NB Pro for the ablation, and nothing else."""

import math

import numpy as np
import pytest
import torch

from benchmarks.methods import METHODS, specify
from benchmarks.methods.kinds.ablation import Variant
from benchmarks.protocol.environments import make_training_env
from benchmarks.protocol.recorder import Recorder
from nb_agents import ClampedKGate
from nb_agents.gates.gate import named_gates

ABLATIONS = {name: method for name, method in METHODS.items() if isinstance(method, Variant)}


@pytest.fixture
def build(quick_spec):
    def build(method, algo="ppo"):
        spec = quick_spec(method=method, algo=algo)
        return METHODS[method].build(spec, make_training_env(spec.settings, spec.source), spec.settings, 0.0)

    return build


def actions(model):
    observations = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)
    return model.policy.predict(observations, deterministic=True)[0]


@pytest.mark.parametrize("name", ABLATIONS)
def test_each_starts_from_the_weights_of_nb_pro(build, name):
    """All but the neutral start compute the same, too."""
    variant, original = build(name), build("nb-pro")
    same = np.array_equal(actions(variant), actions(original))
    assert same == (name != "nb-pro-neutral")
    first = "mlp_extractor.policy_net.0.weight"
    assert torch.equal(variant.policy.state_dict()[first], original.policy.state_dict()[first])


def test_the_neutral_start_computes_what_an_ungated_network_does(build):
    neutral = build("nb-pro-neutral")
    np.testing.assert_allclose(actions(neutral), actions(build("fine-tune")), rtol=1e-4, atol=1e-7)
    assert all((gate.k == 0.25).all() for _, gate in named_gates(neutral.policy))


def test_what_is_changed(build):
    assert build("nb-pro").policy.regularizer.weight == 0.1
    assert build("nb-pro-no-k-target").policy.regularizer.weight == 0.0
    ratios = [{g["name"]: g["lr_ratio"] for g in build(name).policy.optimizer.param_groups}["gates"]
              for name in ("nb-pro", "nb-pro-ratio-1")]  # fmt: skip
    assert ratios == [5.0, 1.0]
    assert build("nb-pro-no-clipping").max_grad_norm == math.inf
    assert len(build("nb-pro-gate-critic").policy.gates) == 2 * len(build("nb-pro").policy.gates)


def test_clipping_stays_off_and_gates_stay_clamped_in_the_transfer(quick_spec):
    """The models go through SB3's file on their way."""
    for name in ("nb-pro-no-clipping", "nb-pro-clamped"):
        spec = quick_spec(method=name)
        model = METHODS[name].begin_transfer(spec, METHODS[name].pretrain(spec), Recorder(spec))
        if name == "nb-pro-no-clipping":
            assert model.max_grad_norm == math.inf
        else:
            assert all(type(gate) is ClampedKGate for gate in model.policy.gates.values())


def test_clamped_gates_are_at_most_one(build):
    clamped, original = build("nb-pro-clamped"), build("nb-pro")
    for model in (clamped, original):
        for gate in model.policy.gates.values():
            torch.nn.init.constant_(gate.k, 3.0)
    assert all((gate.gate() == 1.0).all() for gate in clamped.policy.gates.values())
    assert not np.array_equal(actions(clamped), actions(original))


@pytest.mark.parametrize("name", ["nb-pro-no-clipping", "nb-pro-clamped"])
def test_what_sac_does_not_have(name):
    with pytest.raises(ValueError, match=f"method {name} is defined for ppo"):
        specify(name, seed=0, algo="sac")
