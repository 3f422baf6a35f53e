"""A distillation on its way: the labels so far, what they are regressed with, and its file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from nb_agents._tensor_file import read_tensors, write_tensors
from nb_agents.inference.conditioned import conditioned_nets
from nb_agents.inference.normalization import normalizing
from nb_agents.inference.student import StudentPolicy
from nb_agents.inference.window import flat_actions

KIND = "nb_agents.distill"

MARGIN = 0.25
"""How far the student's k's may leave the range of its teacher's, in parts of that range."""

FAR = 5.0
"""How far beyond all in training the numbers of a transition are like none of them, in parts of their spread."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a student is trained, see `nb_agents.inference.distill.distill`."""

    steps: int
    units: int
    encoder: str
    rounds: int
    steps_per_round: int
    n_epochs: int
    batch_size: int
    learning_rate: float
    exploration: float
    changes: float
    seed: int


class Distillation:
    """The rounds of a distillation; each is a function of what the ones before have left, its number and the seed.

    Attributes:
        done: Number of rounds that are over.
        episodes: Returns and lengths of the episodes that ended in the last round, where the environments report them.
    """

    def __init__(self, teacher: BaseAlgorithm, student: StudentPolicy, env: VecEnv, settings: Settings) -> None:
        self.teacher, self.student, self.env, self.settings = teacher, student, env, settings
        self.policy: Any = teacher.policy
        self.net = next(conditioned_nets(self.policy))
        self._layers = normalizing(env)
        self.histories: list[NDArray[np.float32]] = []
        self.labels: list[torch.Tensor] = []
        self.optimizer = torch.optim.Adam(student.encoder.parameters(), settings.learning_rate)
        self.done = 0
        self.episodes: list[tuple[float, float]] = []

    @property
    def num_timesteps(self) -> int:
        """Steps of the environments so far, in whole rounds."""
        return self.done * self.settings.steps_per_round * self.env.num_envs

    def round(self, on_step: Callable[[], Any]) -> float:
        """Label what teacher or student does in new episodes, and regress the student to all labels.

        Args:
            on_step: Function that is called after each step of the environments.

        Returns:
            The mean squared error of the last pass.
        """
        seeds = np.random.SeedSequence([self.settings.seed, self.done]).generate_state(3).tolist()
        torch.manual_seed(seeds[0])
        self._collect(np.random.default_rng(seeds[1]), seeds[2], on_step)
        loss = self._fit()
        self.done += 1
        return loss

    def all_alike(self) -> bool:
        """Whether all labels are the same k-set."""
        least, most = torch.cat(self.labels).aminmax(dim=0)
        return torch.allclose(least, most)

    def _collect(self, rng: np.random.Generator, seed: int, on_step: Callable[[], Any]) -> None:
        self.env.seed(seed)
        self.env.action_space.seed(seed)
        observation, state, starts = self.env.reset(), None, np.ones(self.env.num_envs, dtype=bool)
        self.episodes = []
        for _ in range(self.settings.steps_per_round):
            bare, given = self._split(observation)
            window = self.student.look(bare, state, starts)
            with torch.no_grad():
                label = self.net.k_sets(torch.as_tensor(given, dtype=torch.float32, device=self.teacher.device))
            self.histories.append(window.rows.reshape(len(bare), -1))
            self.labels.append(label)
            if self.done == 0:
                actions = self._tried(observation, rng)
                kept = flat_actions(torch.as_tensor(actions), self.env.action_space).numpy()
                state = window._replace(action=kept)
            else:
                actions, state = self.student.predict(bare, state, starts, deterministic=True)
            observation, _, starts, infos = self.env.step(actions)
            self.episodes += [(info["episode"]["r"], info["episode"]["l"]) for info in infos if "episode" in info]
            on_step()

    def _tried(self, observation: Any, rng: np.random.Generator) -> NDArray[Any]:
        """The teacher's actions, some of them replaced by random ones."""
        actions, _ = self.teacher.predict(observation, deterministic=True)
        tried = np.array([self.env.action_space.sample() for _ in actions])
        at_random = rng.random(len(actions)) < self.settings.exploration
        return np.where(at_random.reshape(-1, *[1] * (actions.ndim - 1)), tried, actions)

    def _split(self, observation: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """What the student sees, and what is hidden from it."""
        name = self.policy.k_from
        if isinstance(observation, dict):
            # The student standardises by itself what it is shown.
            raw: Any = self._layers[0].get_original_obs() if self._layers else observation
            (bare,) = (value for key, value in raw.items() if key != name)
            return bare, observation[name]
        part = self.policy.observation_space.parts[name]
        return np.delete(observation, part, axis=1), observation[:, part]

    def _fit(self) -> float:
        encoder, settings = self.student.encoder, self.settings
        histories = torch.as_tensor(np.concatenate(self.histories), device=self.teacher.device)
        labels, k0 = torch.cat(self.labels), self.student.net.k0.detach()
        rows = histories.reshape(len(histories), encoder.steps, -1)
        there = rows[:, :, -1] > 0.0
        encoder.mean.copy_(labels.mean(dim=0) - k0)
        encoder.scale.copy_(labels.std(dim=0, correction=min(1, len(labels) - 1)).clamp(min=1e-6))
        least, most = (labels - k0).aminmax(dim=0)
        encoder.low.copy_(least - MARGIN * (most - least))
        encoder.high.copy_(most + MARGIN * (most - least))
        if there.any():
            lived = rows[there][:, :-1]
            encoder.width.copy_(lived.std(dim=0, correction=0).clamp(min=1e-3))
            encoder.reach.copy_(lived.abs().amax(dim=0) + FAR * encoder.width)
        wanted = (labels - k0 - encoder.mean) / encoder.scale
        loss = 0.0
        encoder.train()
        for _ in range(settings.n_epochs):
            errors = []
            for index in torch.split(torch.randperm(len(labels)).to(labels.device), settings.batch_size):
                error = (encoder.standardised(self._changed(rows[index])) - wanted[index]).square().mean()
                self.optimizer.zero_grad()
                torch.autograd.backward(error)
                self.optimizer.step()
                errors.append(error.item())
            loss = float(np.mean(errors))
        encoder.eval()
        return loss

    def _changed(self, rows: torch.Tensor) -> torch.Tensor:
        """Histories of which some have older transitions of another episode: their world has changed within them."""
        steps, n, device = rows.shape[1], len(rows), rows.device
        own = rows[:, :, -1].sum(dim=1).long()
        # The first row of the new world: one of the history's own, so that no gap comes between the two.
        first = torch.randint(1, steps + 1, (n,)).to(device).clamp(max=steps - 1).maximum(steps - own)
        first[(torch.rand(n).to(device) >= self.settings.changes) | (own == 0)] = 0
        older = torch.arange(steps, device=device) < first[:, None]
        return torch.where(older[:, :, None], rows[torch.randperm(n).to(device)], rows).flatten(1)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write all that the next rounds depend on, at once or not at all."""
        write_tensors(
            path,
            KIND,
            about=self._about(),
            done=self.done,  # type: ignore[arg-type]
            encoder=self.student.encoder.state_dict(),
            optimizer=self.optimizer.state_dict(),
            data={"histories": torch.as_tensor(np.concatenate(self.histories)), "labels": torch.cat(self.labels)},
        )

    def read(self, path: str | os.PathLike[str]) -> None:
        """Go on from a file.

        Raises:
            OSError: If it cannot be read.
            ValueError: If it is damaged or of another kind, or was written with other arguments.
        """

        def restore(content: Mapping[str, Any], _: int) -> Mapping[str, Any]:
            histories, labels, about = content["data"]["histories"], content["data"]["labels"], content["about"]
            n = content["done"] * self.settings.steps_per_round * self.env.num_envs
            if about == self._about() and (len(histories), len(labels)) != (n, n):
                raise ValueError(f"it has {len(histories)} histories and {len(labels)} labels of {n} steps")
            return content

        content = read_tensors(path, KIND, restore)
        about = self._about()
        other = [
            f"{name}={content['about'].get(name)!r}" for name in about if content["about"].get(name) != about[name]
        ]
        if other:
            raise ValueError(
                f"checkpoint must be of this distillation, got {os.fspath(path)!r} of one with {', '.join(other)}; "
                "remove it or name another file"
            )
        self.student.encoder.load_state_dict(content["encoder"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.histories = [content["data"]["histories"].numpy()]
        self.labels = [content["data"]["labels"].to(self.teacher.device)]
        self.done = content["done"]

    def _about(self) -> dict[str, Any]:
        about = {**asdict(self.settings), "num_envs": self.env.num_envs, "teacher": _digest(self.net)}
        about["observation_space"] = repr(self.env.observation_space)
        normalize = self.student.normalize
        about["normalize"] = None if normalize is None else f"{_digest(normalize)}, clipped at {normalize.clip}"
        return about


def _digest(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for tensor in module.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
