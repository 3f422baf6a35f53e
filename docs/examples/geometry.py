"""The geometry of k: its natural gradient (TRPO) beside PPO, and its shortest path beside the straight line."""

import os

import gymnasium as gym
import torch
from sb3_contrib import TRPO
from stable_baselines3 import PPO
from torch.func import functional_call

import nb_gym  # noqa: F401 registers the environments
from nb_agents import Battery, KGatedPolicy, RowNormalize, VectorEnvAdapter, effective_dimensions, named_gates
from nb_agents.contrib import KGatedTRPOPolicy
from nb_agents.returns import first_episodes

STEPS, SEED = int(os.environ.get("EXAMPLE_STEPS", "16000")), int(os.environ.get("EXAMPLE_SEED", "0"))
SETTINGS = {"n_steps": 50, "batch_size": 200, "learning_rate": 1e-3, "gamma": 0.8, "gae_lambda": 0.8, "device": "cpu"}


def pendulums(amplitude: float, n: int = 8) -> VectorEnvAdapter:
    """Copies of a pendulum with this drive."""
    return VectorEnvAdapter(gym.make_vec("NBPendulumControl-v0", n, A=amplitude))


source = PPO(KGatedPolicy, RowNormalize(pendulums(1.0), gamma=0.8), seed=SEED, **SETTINGS).learn(STEPS)
battery, policy = Battery(source), source.policy
battery.capture("source")
print(f"A = 1.8, k of the source: return {first_episodes(policy, pendulums(1.8, 32), seed=1).mean():.2f}")
for algorithm, kind in ((PPO, KGatedPolicy), (TRPO, KGatedTRPOPolicy)):
    model = algorithm(kind, RowNormalize(pendulums(1.8), gamma=0.8), seed=SEED, **SETTINGS)
    model.policy.load_state_dict(policy.state_dict())
    model.policy.train_only("gates")  # TRPO's step is then the natural gradient in k
    model.learn(STEPS // 2)
    battery.add(algorithm.__name__, torch.cat([gate.k for _, gate in named_gates(model.policy.mlp_extractor)]))
    print(f"{algorithm.__name__}: return {first_episodes(model.policy, pendulums(1.8, 32), seed=1).mean():.2f}")

seen, names = torch.as_tensor(pendulums(1.4, 64).reset()), [f"{path}.k" for path in battery.gates]


def means(k: torch.Tensor) -> torch.Tensor:
    """Means over deviations; half their squared distance is the divergence."""
    given = dict(zip((name.removeprefix("mlp_extractor.") for name in names), k.chunk(len(names)), strict=True))
    return policy.action_net(functional_call(policy.mlp_extractor, given, (seen,))[0]) / policy.log_std.exp()


path = torch.stack([torch.lerp(battery["source"], battery["PPO"], t) for t in torch.linspace(0, 1, 9)])
inner = path[1:-1].clone().requires_grad_()
optimizer = torch.optim.Adam([inner], lr=0.01)
for _ in range(200):  # the points of the shortest path are those with the least divergences between neighbours
    points = torch.stack([means(k) for k in torch.cat([path[:1], inner, path[-1:]])])
    optimizer.zero_grad()
    (points[1:] - points[:-1]).square().sum(dim=-1).mean(dim=1).sum().backward()
    optimizer.step()
for name, k in (("straight line", path[4]), ("shortest path", inner[3])):
    battery.add(name, k)
    battery.apply(name)
    print(f"A = 1.4, middle of the {name}: return {first_episodes(policy, pendulums(1.4, 32), seed=1).mean():.2f}")
print(f"of {battery.n_k} numbers, {effective_dimensions(policy, seen.numpy()).rank} directions change the policy")
