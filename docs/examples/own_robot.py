"""Your own robot: give contexts to a MuJoCo model, train over many of them, and see how far the policy carries."""

import os
from pathlib import Path

import numpy as np
from stable_baselines3 import PPO

from nb_agents import KGatedPolicy, VectorEnvAdapter
from nb_gym.mujoco import NBMujocoVectorEnv

STEPS = int(os.environ.get("EXAMPLE_STEPS", "100000"))
Path("cart.xml").write_text("""
<mujoco>
  <worldbody>
    <body name="cart">
      <joint name="slide" type="slide" axis="1 0 0" damping="0.5"/><geom type="box" size="0.2 0.1 0.1" mass="1"/>
      <body name="pole">
        <joint name="hinge" axis="0 1 0"/><geom type="capsule" fromto="0 0 0 0 0 0.6" size="0.04" mass="0.3"/>
      </body>
    </body>
  </worldbody>
  <actuator><motor name="push" joint="slide" gear="20" ctrllimited="true" ctrlrange="-1 1"/></actuator>
</mujoco>""")


def reward(env, action):
    """Upright and near the middle; `env` is a Gymnasium MujocoEnv, with `data`, `model` and `dt`."""
    place, angle = env.data.qpos
    return 1.0 - 0.1 * abs(place) - abs(angle)


def fallen(env):
    return abs(env.data.qpos[1]) > 0.5


def carts(num_envs, **context):
    robot = {"source": "cart.xml", "frame_skip": 10, "reset_noise_scale": 0.05}
    ends = {"episode_steps": 100, "autoreset_mode": "SameStep", "reward": reward, "terminated": fallen}
    return NBMujocoVectorEnv(num_envs, **robot, **ends, **context)


# Every episode draws a mass of the pole and a strength of the motor; any body, joint, actuator or sensor has a name.
training = VectorEnvAdapter(carts(16, mass_pole=("log", 0.3, 3.0), gain_push=(0.5, 2.0)))
model = PPO(KGatedPolicy, training, n_steps=128, batch_size=256, gamma=0.98, seed=0)
model.learn(STEPS)

for context in ({}, {"mass_pole": 3.0}, {"gain_push": 0.5}, {"mass_pole": 3.0, "gain_push": 0.3}, {"gain_push": -1.0}):
    envs = carts(10, **context)
    observations, _ = envs.reset(seed=1)
    up, decisions = np.ones(10, dtype=bool), np.zeros(10)
    for _ in range(100):
        observations, _, terminated, _, _ = envs.step(model.predict(observations, deterministic=True)[0])
        decisions += up
        up &= ~terminated
    print(f"{context or 'as built'}: up for {decisions.mean():.0f} of 100 decisions")
