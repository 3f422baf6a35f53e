"""A battery on a robot: learn a k-set per condition at the desk, and swap them on the robot while it runs.

The robot is one joint that holds still in a swell; it meets a calm sea, a rough one, and a motor that has lost power.
"""

import os

import gymnasium as gym
from stable_baselines3 import PPO

import nb_gym  # noqa: F401, registers the environments
from nb_agents import Battery, KGatedPolicy, transfer

STEPS = int(os.environ.get("EXAMPLE_STEPS", "20000"))
CONDITIONS = {"calm": {"A": 1.0}, "rough": {"A": 1.8}, "weak motor": {"A": 1.0, "torque_gain": 0.6}}


def make(**context: float) -> gym.Env:
    return gym.make("NBPendulumControl-v0", **context)


def at_the_desk() -> None:
    """Train the weights once, and the k's for each condition."""
    model = PPO(KGatedPolicy, make(**CONDITIONS["calm"]), seed=0).learn(STEPS)
    model.save("robot")
    battery = Battery(model)
    battery.capture("calm", CONDITIONS["calm"])
    for name in ("rough", "weak motor"):
        battery.apply("calm")
        moved = transfer(model, make(**CONDITIONS[name]), total_timesteps=STEPS, train_only="gates")
        battery.capture(name, CONDITIONS[name])
        print(f"{name}: {moved.before:.1f} before, {moved.after:.1f} after")
    battery.save("robot.safetensors")


def on_the_robot() -> None:
    """Load weights and battery, and swap whenever the condition changes: some microseconds, between two steps."""
    policy = PPO.load("robot").policy
    battery = Battery.load("robot.safetensors", policy)
    for name in ("calm", "rough", "weak motor", "calm"):
        world = make(**CONDITIONS[name])
        battery.apply(name)
        observation, _ = world.reset(seed=0)
        total, done = 0.0, False
        while not done:
            action, _ = policy.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = world.step(action)
            total, done = total + float(reward), terminated or truncated
        print(f"{name}, with its k's {[round(float(k), 2) for k in battery[name]]}: return {total:.1f}")


at_the_desk()
on_the_robot()
