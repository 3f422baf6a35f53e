"""Without PyTorch: one ONNX file and a battery at the desk, and on the robot a process that loads nothing else.

The robot is one joint that holds still in a swell; the sea becomes rough, and calm again.
"""

import os
import subprocess
import sys

STEPS = int(os.environ.get("EXAMPLE_STEPS", "20000"))
SEAS = {"calm": 1.0, "rough": 1.8}


def at_the_desk() -> None:
    """Train the weights once, the k's for each sea, and write two files."""
    import gymnasium as gym
    from stable_baselines3 import PPO

    import nb_gym  # noqa: F401, registers the environments
    from nb_agents import Battery, KGatedPolicy, export_onnx, transfer

    model = PPO(KGatedPolicy, gym.make("NBPendulumControl-v0", A=SEAS["calm"]), seed=0).learn(STEPS)
    battery = Battery(model)
    battery.capture("calm")
    transfer(model, gym.make("NBPendulumControl-v0", A=SEAS["rough"]), total_timesteps=STEPS, train_only="gates")
    battery.capture("rough")
    battery.save("seas.safetensors")
    export_onnx(model, "policy.onnx", k="input")


def on_the_robot() -> None:
    """Act, and swap the k-set between two steps; NumPy and ONNX Runtime are all that it takes."""
    import gymnasium as gym  # stands for sensors and motors

    import nb_gym  # noqa: F401
    from nb_runtime import Policy

    policy = Policy("policy.onnx", "seas.safetensors")
    for sea in ("calm", "rough", "calm"):
        policy.apply(sea)
        plant = gym.make("NBPendulumControl-v0", A=SEAS[sea])
        observation, _ = plant.reset(seed=0)
        total, done = 0.0, False
        while not done:
            observation, reward, terminated, truncated, _ = plant.step(policy.predict(observation))
            total, done = total + float(reward), terminated or truncated
        print(f"{sea}: return {total:.1f}", flush=True)
    print("PyTorch was loaded" if "torch" in sys.modules else "PyTorch was not loaded")


if sys.argv[1:] == ["robot"]:
    on_the_robot()
else:
    at_the_desk()
    subprocess.run([sys.executable, __file__, "robot"], check=True)
