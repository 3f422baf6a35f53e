"""k searched in a few episodes, where nothing was trained to infer it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import check_for_correct_spaces
from stable_baselines3.common.vec_env import VecEnv

from nb_agents._checks import check_count, check_flag, check_positive
from nb_agents._progress import progress
from nb_agents.adaptation.checkpoint import Played, about_env
from nb_agents.adaptation.evolution import Evolution
from nb_agents.adaptation.subject import Subject, check_policy, middle_of, the_context, the_ks
from nb_agents.battery.battery import Battery
from nb_agents.battery.fingerprint import fingerprint
from nb_agents.battery.per_row import gates_per_row
from nb_agents.inference.teaching import begun_anew
from nb_agents.returns import as_it_is, first_episodes
from nb_agents.surgery.one_context import at
from nb_agents.target import Environment, as_vec_env, prepare

Floats = NDArray[np.float64]
Play = Callable[[Sequence[Floats], int], Sequence[float]]
"""Function that gives the returns of candidates, one for each row, and of the number of episodes before them."""


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes:
        policy: Plain k-gated policy with the best k-set, to be kept in a battery, folded, or trained on.
        values: What was searched, at its best: the context, shape ``(n_given,)``, or the k's, shape ``(n_k,)``.
        score: Mean return of the policy in its episodes here; finite, if any is. Where returns are noisy it is a little
            too high, for the first of them was one of the reasons to choose it.
        scores: Returns of all episodes in order, shape ``(episodes,)``; where one is not finite, as of an episode that
            blew up, the search goes on as with a bad one.
        tried: Which candidate each episode was played with, shape ``(episodes,)``; 0 is the start.
        best: Which of them was chosen.
        battery: The k-sets "start" and that of the best; or the given battery, with the best in it.
    """

    policy: Any
    values: Floats
    score: float
    scores: Floats
    tried: NDArray[np.int64]
    best: int
    battery: Battery

    def __str__(self) -> str:
        """What was done, and what it brought."""
        start, best = (self.scores[self.tried == index] for index in (0, self.best))
        return (
            f"{len(self.values)} numbers searched in {len(self.scores)} episodes: return {start.mean():,.1f} at the "
            f"start ({len(start)} episodes), {self.score:,.1f} at the best of {self.tried.max() + 1} candidates "
            f"({len(best)} episodes)"
        )


def search_k(
    model: Any,
    env: Environment | Callable[[Any], float],
    episodes: int = 25,
    *,
    method: str = "cma",
    low: ArrayLike | None = None,
    high: ArrayLike | None = None,
    sigma: float | None = None,
    population: int | None = None,
    confirm: int | None = None,
    seed: int = 0,
    name: str = "found",
    battery: Battery | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress_bar: bool = False,
) -> Found:
    """Search the k's of a policy, or the context of a conditioned one, with whole episodes as scores.

    Each episode is a deterministic policy's. In n environments n candidates are played side by side, a k-set to a row,
    so that their dynamics should be the same; rows that are left over go to the best ones so far. The last episodes try
    the best again, the start among them if it is one, and the highest mean wins, so that no k-set wins by a lucky
    episode. The model is left as it is: ``found.battery.apply("found")`` gives it the k's.

    Args:
        model: SB3 model with a k-gated policy, or such a policy. Where its k's are computed (``k_from``) the context is
            searched, which takes fewer episodes.
        env: The task: a Gymnasium environment, a `VectorEnv` or a `VecEnv`, which shows what the policy observes,
            without the context. It is seen through the model's `VecNormalize` as in `nb_agents.transfer` and, with
            ``k_from``, as in `nb_agents.at`. Or a function of a plain policy that gives its return in an episode.
        episodes: Budget, over all rows; what is left when it does not fill them is not played.
        method: "cma", CMA-ES.
        low: Least values of the context, as the policy observes them, shape ``(n_given,)``; None where k's are
            searched.
        high: Greatest values, likewise.
        sigma: First standard deviation of the search, > 0: in k, 2 by default, or in halves of the context's box, 0.5.
        population: Candidates per generation, at least 2; None for 4, or for as many as there are rows.
        confirm: Episodes of the budget that are kept for trying the best again, >= 0; None for a fifth, and for none
            with a function.
        seed: Seed of the search, and of the environments' starts, which are others for each episode.
        name: Name of the best k-set in the battery.
        battery: Battery that it is kept in; None for a new one, of the model's policy, or of ``found.policy`` with
            ``k_from``.
        checkpoint: File that is written after each step of the search. If it is there already, the search goes on from
            it and ends as if it had not been interrupted, to the last bit where the environments are functions of their
            seeds.
        progress_bar: Whether tqdm's bar of the episodes is shown, as SB3's own is.

    Raises:
        FingerprintError: If ``battery`` is of another network.
        ImportError: If cma, or what the bar needs, is not installed.
        OSError: If the checkpoint cannot be read or written.
        TypeError: If an argument is not of its kind.
        ValueError: If the policy has no gates, ``env`` shows something else than it observes, the box is empty or of
            another shape, a name is taken, a number is out of its range, or the checkpoint is damaged or of another
            search. Nothing has been played then.
    """
    if method != "cma":
        raise ValueError(f"method must be 'cma', got {method!r}")
    policy = check_policy(model)
    box, show = middle_of(policy, low, high), check_flag("progress_bar", progress_bar)
    episodes, seed = check_count("episodes", episodes), check_count("seed", seed, low=0)
    sigma = None if sigma is None else check_positive("sigma", sigma)
    known = model if isinstance(model, BaseAlgorithm) else None
    worlds = None
    if not callable(env):
        worlds, known, plain = _in_world(known, policy, env, box)
    elif box is not None:
        plain = policy.at(box[0])
    subject = the_ks(policy) if box is None else the_context(policy, plain, *box)
    rows = 1 if worlds is None else worlds.num_envs
    if episodes < rows:
        raise ValueError(f"episodes must be at least one in each of the {rows} environments, got {episodes}")
    last = check_count("confirm", (0 if callable(env) else episodes // 5) if confirm is None else confirm, low=0)
    population = max(4, rows) if population is None else population
    sigma = subject.sigma if sigma is None else sigma
    evolution = Evolution(subject.start, sigma, population, np.random.default_rng(seed), bounded=subject.bounded)
    kept = _kept(subject, name, battery)
    with ExitStack() as stack:
        if worlds is not None:
            if isinstance(model, BaseAlgorithm):
                stack.enter_context(begun_anew(model, worlds))
            stack.enter_context(as_it_is(worlds, known))
        played = Played(checkpoint, _about(subject, worlds, episodes, last, sigma, population, seed))
        on_step = stack.enter_context(progress(show, episodes // rows * rows, played.known, rows))
        play = _function(subject, env) if worlds is None else _rows(subject, worlds, seed)
        _search(evolution, play, rows, episodes, last, played, on_step)
    best = evolution.best(2 if last else 1)
    return _found(subject, evolution, best, played, name, kept, battery)


def _in_world(model: BaseAlgorithm | None, policy: Any, env: Any, box: Any) -> tuple[VecEnv, BaseAlgorithm | None, Any]:
    """The environments as the plain policy sees them, the model whose normalization counts there, and that policy."""
    if box is not None and model is not None:
        model = at(model, box[0], as_vec_env("env", env))
        assert model.env is not None
        return model.env, model, model.policy
    if model is not None:
        return prepare("env", env, model, frozen=True, same_number=False), model, policy
    plain = policy if box is None else policy.at(box[0])
    worlds = BaseAlgorithm._wrap_env(as_vec_env("env", env))
    try:
        check_for_correct_spaces(worlds, plain.observation_space, plain.action_space)
    except ValueError as error:
        raise ValueError(f"env must have the spaces of the policy: {error}") from None
    return worlds, None, plain


def _search(
    evolution: Evolution, play: Play, rows: int, episodes: int, last: int, played: Played, on_step: Callable[[], Any]
) -> None:
    """Play until the budget is spent; the last episodes go to the best."""
    total = episodes // rows * rows
    for done in range(0, total, rows):
        tried: list[int] = []
        while done + rows <= max(total - last, rows) and len(tried) < rows and (i := evolution.next()) is not None:
            tried.append(i)
        tried += evolution.again(rows - len(tried))
        returns = played.recall(done, tried, evolution.candidates)
        if returns is None:
            returns = [float(each) for each in play([evolution.candidates[i] for i in tried], done)]
            played.add(tried, returns, evolution.candidates)
            on_step()
        for i, each in zip(tried, returns, strict=True):
            evolution.tell(i, each)


def _function(subject: Subject, return_of: Any) -> Play:
    return lambda candidates, _: [return_of(subject.make(each)) for each in candidates]


def _rows(subject: Subject, worlds: VecEnv, seed: int) -> Play:
    """Episodes side by side, each from a start of its own."""
    gates = list(Battery(subject.policy).gates.values())
    sizes = [len(gate.k) for gate in gates]

    def play(candidates: Sequence[Floats], done: int) -> Sequence[float]:
        k_sets = [torch.split(subject.k(each), sizes) for each in candidates]
        with gates_per_row(gates, k_sets, torch.arange(len(candidates))):
            returns: Sequence[float] = first_episodes(subject.policy, worlds, seed + done).tolist()
        return returns

    return play


def _about(subject: Subject, worlds: VecEnv | None, *numbers: Any) -> dict[str, Any]:
    """All that the episodes depend on."""
    names = ("episodes", "confirm", "sigma", "population", "seed")
    about = dict(zip(names, numbers, strict=True)) | {"start": subject.values(subject.start).tolist()}
    if subject.bounded:
        about["high"] = subject.values(np.ones(len(subject.start))).tolist()
    about["weights"] = fingerprint(subject.policy).weights
    return about | ({} if worlds is None else about_env(worlds))


def _kept(subject: Subject, name: Any, battery: Any) -> Battery:
    """A battery with the start in it; the name is one that it would take."""
    kept = Battery(subject.policy)
    kept.add("start", subject.k(subject.start))
    kept.add(name, subject.k(subject.start))
    kept.remove(name)
    if battery is not None:
        if not isinstance(battery, Battery):
            raise TypeError(f"battery must be a Battery or None, got {battery!r}")
        battery.check_gates("search_k")
        fingerprint(battery.network).check(fingerprint(subject.policy), "the battery's k-sets were taken")
        if name in battery:
            raise ValueError(f"name must be a new one in the battery, got {name!r} of {list(battery)}")
    return kept


def _found(
    subject: Subject, evolution: Evolution, best: int, played: Played, name: str, kept: Battery, battery: Battery | None
) -> Found:
    policy, k = subject.make(evolution.candidates[best]), subject.k(evolution.candidates[best])
    score = float(np.mean(evolution.scores[best]))
    scores, tried = np.array(played.returns), np.array(played.tried)
    if battery is None:
        battery = Battery(policy) if subject.bounded else kept
        if subject.bounded:
            battery.add("start", kept["start"])
    notes = {
        "return": score if np.isfinite(score) else None,
        "episodes": len(evolution.scores[best]),
        "of": len(scores),
    }
    battery.add(name, k, notes)
    return Found(policy, subject.values(evolution.candidates[best]), score, scores, tried, best, battery)
