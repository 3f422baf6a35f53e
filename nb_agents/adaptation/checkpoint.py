"""The file of a search on its way: what was played, from which the search itself is played again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from nb_agents._tensor_file import read_tensors, write_tensors
from nb_agents.inference.normalization import normalizing
from nb_evaluation.files import check_writable

KIND = "nb_agents.search_k"


class Played:
    """Episodes of a search in the order in which they were played, kept in a file if there is one.

    CMA-ES is a function of its seed and of the scores, so that these are all that a search has to keep.

    Attributes:
        tried: Index of each episode's candidate.
        returns: Return of each episode.
        known: Number of episodes that the file held when it was read.

    Args:
        path: The file, which is read if it is there; None for none.
        about: All that the episodes depend on.

    Raises:
        OSError: If the file cannot be read, or its folder takes no files.
        ValueError: If it is damaged, of another kind or of another search.
    """

    def __init__(self, path: str | os.PathLike[str] | None, about: Mapping[str, Any]) -> None:
        self.path, self.about = path, dict(about)
        self.tried, self.returns = list[int](), list[float]()
        self._candidates: list[list[float]] = []
        if path is not None:
            check_writable(Path(path).absolute().parent)
            if Path(path).exists():
                read_tensors(path, KIND, self._read)
                self._check()
        self.known = len(self.returns)

    def _read(self, content: Mapping[str, Any], _: int) -> None:
        self.written, data = content["about"], content["data"]
        self.tried, self.returns = data["tried"].tolist(), data["returns"].tolist()
        self._candidates = data["candidates"].tolist()
        if len(self.tried) != len(self.returns) or not all(0 <= i < len(self._candidates) for i in self.tried):
            raise ValueError("its candidates and its episodes do not agree")

    def _check(self) -> None:
        other = [
            f"{name}={self.written.get(name)!r}" for name in self.about if self.written.get(name) != self.about[name]
        ]
        if other:
            raise ValueError(
                f"checkpoint must be of this search, got {os.fspath(self.path or '')!r} of one with "
                f"{', '.join(other)}; remove it or name another file"
            )

    def recall(self, done: int, tried: Sequence[int], candidates: Sequence[NDArray[np.float64]]) -> list[float] | None:
        """Returns of the episodes from number ``done`` on, of these candidates; None if they were not played yet.

        Raises:
            ValueError: If other candidates were played then, as with another release of ``cma``.
        """
        end = done + len(tried)
        if end > self.known:
            return None
        there = [self._candidates[i] for i in self.tried[done:end]]
        if self.tried[done:end] != list(tried) or there != [candidates[i].tolist() for i in tried]:
            raise ValueError(f"checkpoint must be of this search, but in {os.fspath(self.path or '')!r} other "
                             "candidates were played, as another release of cma draws them; remove it")  # fmt: skip
        return self.returns[done:end]

    def add(self, tried: Sequence[int], returns: Sequence[float], candidates: Sequence[NDArray[np.float64]]) -> None:
        """Keep what was played."""
        self.tried += tried
        self.returns += returns
        if self.path is not None:
            data = {
                "tried": torch.tensor(self.tried),
                "returns": torch.tensor(self.returns, dtype=torch.float64),
                "candidates": torch.from_numpy(np.array(candidates)),
            }
            write_tensors(self.path, KIND, about=self.about, data=data)


def about_env(env: VecEnv) -> dict[str, Any]:
    """What is known of an environment: its spaces, its rows, and how observations are standardised."""
    statistics = hashlib.sha256()
    for layer in normalizing(env):
        each = layer.obs_rms if isinstance(layer.obs_rms, dict) else {"": layer.obs_rms}
        for key, rms in sorted(each.items()):
            statistics.update(
                f"{key} {layer.clip_obs} {layer.epsilon}".encode() + rms.mean.tobytes() + rms.var.tobytes()
            )
    return {
        "rows": env.num_envs,
        "spaces": f"{env.observation_space}, {env.action_space}",
        "normalization": statistics.hexdigest(),
    }
