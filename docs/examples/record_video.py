"""Videos of before and after: the policy on the new task, with the old k's and with the new ones.

It needs a renderer and a writer of videos: pip install "neural-battery[render,video]"
"""

import os

import gymnasium as gym
from gymnasium.wrappers import RecordVideo
from stable_baselines3 import PPO

import nb_gym  # noqa: F401, registers the environments
from nb_agents import KGatedPolicy, transfer

STEPS = int(os.environ.get("EXAMPLE_STEPS", "20000"))


def record(model: PPO, name: str) -> float:
    """Play one episode of the new task into videos/NAME/rl-video-episode-0.mp4."""
    world = gym.make("NBPendulumControl-v0", A=1.8, render_mode="rgb_array")
    env = RecordVideo(world, f"videos/{name}", episode_trigger=lambda episode: True)
    observation, _ = env.reset(seed=0)
    total, done = 0.0, False
    while not done:
        action, _ = model.predict(observation, deterministic=True)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, done = total + float(reward), terminated or truncated
    env.close()
    return total


model = PPO(KGatedPolicy, gym.make("NBPendulumControl-v0", A=1.0), seed=0).learn(STEPS)
moved = transfer(model, gym.make("NBPendulumControl-v0", A=1.8), total_timesteps=STEPS, train_only="gates")
for name, k_set in (("before", "source"), ("after", "target")):
    moved.battery.apply(k_set)
    print(f"{name}: return {record(model, name):.1f}, see videos/{name}")
