"""A model of the RL zoo: put gates into it, adapt them alone, and save a plain SB3 model again.

python rl_zoo_model.py logs/ppo/Pendulum-v1_1   # a folder of yours, as the zoo wrote it
"""

import os
import sys
from pathlib import Path

from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from nb_agents import fold_gates, retrofit, transfer

STEPS = int(os.environ.get("EXAMPLE_STEPS", "100000"))
ENV = "Pendulum-v1"


def like_the_zoo(folder: Path) -> None:
    """Train a model without gates and save it in the zoo's layout: ENV.zip, and ENV/vecnormalize.pkl."""
    env = VecNormalize(make_vec_env(ENV, n_envs=4, seed=0), gamma=0.9)
    settings = {"n_steps": 256, "gamma": 0.9, "learning_rate": 1e-3, "use_sde": True, "sde_sample_freq": 4}
    model = PPO("MlpPolicy", env, seed=0, **settings).learn(STEPS)
    model.save(folder / f"{ENV}.zip")
    (folder / ENV).mkdir(exist_ok=True)
    env.save(str(folder / ENV / "vecnormalize.pkl"))


folder = Path(sys.argv[1] if len(sys.argv) > 1 else f"logs/ppo/{ENV}_1")
if not (folder / f"{ENV}.zip").exists():
    folder.mkdir(parents=True, exist_ok=True)
    like_the_zoo(folder)

env = VecNormalize.load(str(folder / ENV / "vecnormalize.pkl"), make_vec_env(ENV, n_envs=4, seed=1))
env.training = False  # the statistics are part of what the policy has learned
plain = PPO.load(folder / f"{ENV}.zip", env=env)
gated = retrofit(plain, block_size=16)  # acts as before, to the last bit

heavier = make_vec_env(ENV, n_envs=4, env_kwargs={"g": 14.0})  # gravity is 10 in the task that the model knows
moved = transfer(gated, heavier, total_timesteps=STEPS, train_only="gates", normalize="freeze")
print(moved)

adapted = folder / "adapted"
(adapted / ENV).mkdir(parents=True, exist_ok=True)
fold_gates(gated).save(adapted / f"{ENV}.zip")  # without gates: the zoo's `enjoy` plays it without this package
env.save(str(adapted / ENV / "vecnormalize.pkl"))
print(f"saved to {adapted}")
