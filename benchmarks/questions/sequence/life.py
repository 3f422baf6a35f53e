"""One run of a sequence: a method's state from task to task, and what is left of each after every stage."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import safetensors.torch
from stable_baselines3.common.base_class import BaseAlgorithm

from benchmarks.methods import find_method
from benchmarks.methods.kinds.base import Method, Pretrained, adapted_parameters
from benchmarks.protocol.environments import NUM_STARTS, in_context, make_vector_env, mean_returns
from benchmarks.protocol.recorder import Recorder
from benchmarks.protocol.results import Curve
from benchmarks.questions.sequence.meeting import KEPT_ROWS, RECENT, steps_in
from benchmarks.questions.sequence.runs import SequenceResult, SequenceSpec
from benchmarks.questions.sequence.strategies import STRATEGIES
from benchmarks.runs.experiment import pretrain
from nb_agents import Battery, Transitions
from nb_evaluation.runs.workers import one_torch_thread


def execute_sequence(spec: SequenceSpec) -> SequenceResult:
    """Run a specification: a pure function of it, to the last bit on one machine."""
    with one_torch_thread():
        life = _Life(spec)
        returns = [life.measure()]
        arrivals = [returns[0][0]]
        for number in range(1, len(spec.stages)):
            arrivals.append(life.train(number))
            returns.append(life.measure())
        return SequenceResult(arrivals, returns, *life.stored(), life.chosen)


class _Life:
    """A method's state along a sequence.

    Attributes:
        source: Answer of the pretraining.
        latest: Last model trained.
        kept: Models of the tasks seen, for a method that keeps weights.
        k_sets: Adapters of the tasks seen beside the source's network, as k-sets, for a method that keeps them; else
            None.
        last: Task of the last stage.
        chosen: Task whose k-set was put in as each stage began, for a battery that chooses; else None.
    """

    def __init__(self, spec: SequenceSpec) -> None:
        self.spec = spec
        self.strategy = STRATEGIES[spec.method]
        self.method: Method = find_method(self.strategy.method)
        self.source = self.latest = pretrain(spec.stage(0))
        self.kept: dict[int, Pretrained] = {0: self.source}
        self.k_sets: Battery | None = None
        if self.strategy.keeps not in ("weights", None):
            # Of a copy, as the pretraining is shared between runs.
            recorder = Recorder(spec.stage(0), follow=False)
            self.k_sets = self._battery(self.method.begin_transfer(spec.stage(0), self.source, recorder))
            self.k_sets.capture("0")
        self.last = 0
        self.chosen: list[int] | None = [0] if self.strategy.chooses else None
        self._keep_dynamics(0)

    def train(self, number: int) -> float:
        """Train on the task of a stage.

        Returns:
            The return on that task as the stage begins, before any of its episodes.
        """
        stage, task = self.spec.stage(number), self.spec.stages[number]
        recorder = Recorder(stage, follow=False)
        start = self.latest if self.strategy.goes_on else self.source
        if self.strategy.keeps == "weights":
            start = self.kept.get(task, self.source)
        arrival = recorder.evaluator(start.model.policy).target
        model = self.method.begin_transfer(stage, start, recorder)
        if self.k_sets is not None:
            now, put_in = self._battery(model), self._put_in(task, number)
            now.add("now", self.k_sets[put_in])
            now.apply("now")
            if self.chosen is not None:
                self.chosen.append(int(put_in))
            arrival = recorder.evaluator(model.policy).target
        self.method.transfer(stage, model, recorder)
        if self.k_sets is not None:
            now.capture("now", overwrite=True)
            assert now.verify() == self.k_sets.verify()  # the k's are all that has changed
            self.k_sets.add(str(task), now["now"], {**stage.target}, overwrite=True)
        rewards = getattr(model.get_env(), "ret_rms", start.rewards)
        self.latest = Pretrained(model, rewards, Curve())
        if self.strategy.keeps == "weights":
            self.kept[task] = self.latest
        self.last = task
        self._keep_dynamics(task)
        return arrival

    def _battery(self, model: BaseAlgorithm) -> Battery:
        assert self.strategy.keeps is not None
        return Battery(model.policy, self.strategy.keeps)

    def _put_in(self, task: int, *about: int) -> str:
        """The k-set for a task: its own or, as it comes back, the battery's choice; the source's for a new one.

        A battery chooses by the steps of an episode, in which the last stage's k-set goes on acting.
        """
        assert self.k_sets is not None
        if str(task) not in self.k_sets:
            return "0"
        if self.strategy.chooses:
            self.k_sets.apply(str(self.last))
            return self.k_sets.nearest(self._steps(task, 1, RECENT, 1, *about))
        return str(task)

    def _keep_dynamics(self, task: int) -> None:
        """Fit the model by which a battery knows a task again."""
        if self.k_sets is not None and self.strategy.chooses:
            self.k_sets.apply(str(task))
            self.k_sets.fit_dynamics(str(task), self._steps(task, KEPT_ROWS, RECENT, 2, task))

    def _steps(self, task: int, rows: int, steps: int, *about: int) -> Transitions:
        """Steps in a task with the k's that are applied."""
        assert self.k_sets is not None
        policy: Any = self.k_sets.network
        return steps_in(self.spec.tasks[task], self.spec.settings, policy, rows, steps, [self.spec.seed, *about])

    def measure(self) -> list[float]:
        """Return on each task, with what is kept for it, or with the source's k's or weights where nothing is."""
        returns: list[float] = []
        for task, context in enumerate(self.spec.tasks):
            policy = self.latest.model.policy
            if self.strategy.keeps == "weights":
                policy = self.kept.get(task, self.source).model.policy
            elif self.k_sets is not None:
                self.k_sets.apply(self._put_in(task, task, len(self.k_sets)))
                policy = self.k_sets.network  # type: ignore[assignment]
            env = make_vector_env(self.spec.settings, NUM_STARTS, **context)
            returns += mean_returns(env, in_context(policy, context))[0].tolist()
        return returns

    def stored(self) -> tuple[int, int]:
        """Numbers per task, and bytes of all of them in a file."""
        if self.k_sets is not None:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "k.safetensors"
                self.k_sets.save(path)
                return self.k_sets.n_k, path.stat().st_size
        if self.strategy.keeps is None:
            return 0, 0
        tensors = {
            f"{task}.{name}": parameter.detach()
            for task, each in self.kept.items()
            for name, parameter in adapted_parameters(each.model.policy).items()
        }
        numbers = sum(tensor.numel() for tensor in tensors.values()) // len(self.kept)
        return numbers, len(safetensors.torch.save(tensors))
