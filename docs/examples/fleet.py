"""A fleet: 64 pendulums of differing dynamics, one policy, and a k-set for each, adapted at once."""

import os
from importlib.util import find_spec
from pathlib import Path

import gymnasium as gym
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

import nb_gym  # noqa: F401 registers the environments
from nb_agents import KGatedPolicy, VectorEnvAdapter, fleet, fleet_battery
from nb_agents.returns import first_episodes

STEPS = int(os.environ.get("EXAMPLE_STEPS", "64000"))  # of all robots together
N = 64


def robots(amplitude: np.ndarray, motor: np.ndarray) -> VectorEnvAdapter:
    """Pendulums with a drive and a motor of their own in each row."""
    return VectorEnvAdapter(gym.make_vec("NBPendulumControl-v0", len(motor), A=amplitude, torque_gain=motor))


rng = np.random.default_rng(0)
amplitudes, motors = rng.uniform(1.0, 1.6, N), np.exp(rng.uniform(np.log(0.6), np.log(2.5), N))

# A policy for one pendulum, in eight copies of it.
model = PPO(
    KGatedPolicy,
    VecNormalize(robots(np.ones(8), np.ones(8)), norm_obs=False, gamma=0.8),
    n_steps=50,
    batch_size=200,
    learning_rate=1e-3,
    gamma=0.8,
    gae_lambda=0.8,
    seed=0,
)
model.learn(STEPS // 2)
before = first_episodes(model.policy, robots(amplitudes, motors), seed=1)

adapted = fleet(model, robots(amplitudes, motors))
adapted.learn(STEPS)  # every row trains its own k-set, and the weights stand still

battery = fleet_battery(adapted, [f"pendulum {i}" for i in range(N)])
battery.save("fleet.safetensors")
with battery.per_row(range(N)):
    after = first_episodes(battery.network, robots(amplitudes, motors), seed=1)

print(f"{N} k-sets of {battery.n_k} numbers, {Path('fleet.safetensors').stat().st_size:,} bytes")
print(f"median return {np.median(before):.2f} before, {np.median(after):.2f} after; better in {np.sum(after > before)}")
if find_spec("matplotlib"):
    from matplotlib.figure import Figure

    axes = Figure(layout="constrained").subplots()
    for label, returns in {"before": before, "after": after}.items():
        axes.scatter(motors, returns, label=label)
    axes.set(xlabel="torque gain", ylabel="return of an episode", xscale="log", yscale="symlog")
    axes.legend()
    axes.figure.savefig("fleet.png")
