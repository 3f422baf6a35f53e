"""Kills a job at random moments and lets it go on: `python -m tests.benchmarks.runs.kills 100 [SECONDS]`.

A kill comes within so many seconds of the job's start; by default within the time that the whole job takes.

Each time its main process alone or its whole group gets SIGKILL or SIGTERM. What has to hold: its other processes end
within ten seconds, no finished run is touched or lost, and at last every run equals the one of a job that was left in
peace, with no temporary file beside it.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.protocol.run import Run
from nb_evaluation.runs.folder import JOB_FILE, PACK, read_lines

ROOT = Path(__file__).parents[3]
PATIENCE = 10.0
"""Seconds within which a killed job's processes have to end."""

MADE = {JOB_FILE, PACK, "table.md", "curves.png", "transfer.gif"}


class Job:
    """A small job of the command line: `seeds` runs of each of two methods, two at a time."""

    def __init__(self, folder: Path, seeds: int) -> None:
        self.folder = folder
        options = f"--methods nb-pro-k fine-tune --seeds {seeds} --pretrain-episodes 8 --transfer-episodes 8 --out"
        self.command = [sys.executable, "-m", "benchmarks", "transfer", *options.split(), str(folder)]
        self.number = 2 * seeds

    def start(self) -> subprocess.Popen:
        quiet = subprocess.DEVNULL
        return subprocess.Popen(self.command, cwd=ROOT, stdout=quiet, stderr=quiet, start_new_session=True)

    def finish(self) -> None:
        subprocess.run(self.command, cwd=ROOT, check=True, capture_output=True)
        made = {path.name for path in self.folder.iterdir()}
        assert made == MADE, made

    def results(self) -> dict:
        """Results of the finished runs; each is read with all checks."""
        lines = self.lines()
        return {Run.from_line(line, "a line").spec.name: json.loads(line)["result"] for line in lines}

    def lines(self) -> set:
        """The finished runs as they are stored, with the seconds that each has taken."""
        return {line.content for line in read_lines(self.folder)}


def session(leader: int) -> list[int]:
    """The processes that a job has started, and that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its_session, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(its_session) == leader and state not in "ZX":
            found.append(int(path.parent.name))
    return found


def seconds_until_alone(leader: int) -> float:
    """How long the processes of a killed job go on; at most `PATIENCE`, or else they are ended and it is an error."""
    started = time.monotonic()
    while left := session(leader):
        if time.monotonic() - started > PATIENCE:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"{len(left)} processes are left after {PATIENCE:g} s")
        time.sleep(0.05)
    return time.monotonic() - started


def kill_and_resume(folder: Path, kills: int, seeds: int, seed: int = 0, *, span: float | None = None) -> Counter:
    """Kill a job so many times, each time within `span` seconds of its start; see the module.

    Returns:
        How often each kind of kill hit a running job, and the longest time that processes took to end.
    """
    rng, counts = random.Random(seed), Counter()
    undisturbed = Job(folder / "undisturbed", seeds)
    started = time.monotonic()
    undisturbed.finish()
    span = 1.1 * (time.monotonic() - started) if span is None else span
    job, wanted = Job(folder / "killed", seeds), undisturbed.results()
    while sum(counts.values()) < kills:
        job.folder.mkdir(exist_ok=True)
        before = job.lines()
        process = job.start()
        time.sleep(rng.uniform(0.0, span))
        ended = process.poll() is not None
        send, name = (os.kill, "main") if rng.random() < 0.5 else (os.killpg, "group")
        number = signal.SIGKILL if rng.random() < 0.75 else signal.SIGTERM
        if not ended:
            send(process.pid, number)
        process.wait()
        longest = max(getattr(counts, "longest", 0.0), seconds_until_alone(process.pid))
        counts.longest = longest
        after = job.lines()
        assert before <= after, "a finished run was written again, or lost"
        assert all(wanted[name] == result for name, result in job.results().items()), "a run has another result"
        if ended:
            assert process.returncode == 0, process.returncode
            job.finish()
            shutil.rmtree(job.folder)
        else:
            counts[f"{number.name} to {name}"] += 1
            print(sum(counts.values()), dict(counts), len(after), "runs", f"{longest:.1f} s", flush=True)
    job.finish()
    assert job.results() == wanted
    return counts


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        within = float(sys.argv[2]) if len(sys.argv) > 2 else None
        figures = kill_and_resume(Path(place), int(sys.argv[1]), seeds=4, span=within)
    print(f"{dict(figures)}; all processes had ended {figures.longest:.1f} s after a kill at the latest")
