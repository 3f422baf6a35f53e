"""A real Ray cluster on this machine: two nodes, of which one dies."""

import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from nb_evaluation.runs import cluster
from nb_evaluation.runs.cluster import check_address, reach
from nb_evaluation.runs.runner import run_all

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Wait:
    """A run that marks its start in a folder, and ends when the file `go` is there."""

    name: str
    folder: Path


@dataclass(frozen=True)
class Waited:
    spec: Wait
    node: str

    def write(self, folder):
        path = folder / f"{self.spec.name}.txt"
        path.write_text(self.node)
        return path


def wait(spec):
    import ray

    if spec.name == "fails":
        raise ArithmeticError("this one fails")
    if spec.name == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    assert {os.environ[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"1"}
    node = ray.get_runtime_context().get_node_id()
    (spec.folder / f"{spec.name} on {node} as {os.getpid()}").touch()
    deadline = time.monotonic() + 60
    while not (spec.folder / "go").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return node


def record(spec, node, *provenance):
    return Waited(spec, node)


@pytest.fixture
def nodes(monkeypatch):
    """A cluster whose first node stays and whose second may be killed, with one CPU each."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # the nodes inherit it, their workers must not
    quick = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, "_system_config": quick}
    )
    try:
        nodes.add_node(num_cpus=1)
        yield nodes
    finally:
        nodes.shutdown()


# Ray starts a node's processes through a function of its own in the child, which Python 3.12 warns of beside threads.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_a_node_killed_while_its_run_is_in_flight(nodes, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "RETRIES", 1)
    marks, folder = tmp_path / "marks", tmp_path / "out"
    marks.mkdir()
    folder.mkdir()
    specs = [Wait(name, marks) for name in ("a", "b", "fails", "dies", "c", "d")]
    (victim,) = nodes.worker_nodes
    lost = []

    def kill_a_node_and_let_the_runs_end():
        deadline = time.monotonic() + 240  # seconds where the machine is free, far more where it is not
        while len(list(marks.iterdir())) < 2:  # one on either node
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (mark,) = marks.glob(f"* on {victim.node_id} *")
        nodes.remove_node(victim, allow_graceful=False)
        with suppress(ProcessLookupError):  # a worker may outlive its node for a moment
            os.kill(int(mark.name.split()[-1]), signal.SIGKILL)
        lost.append(mark.name.split()[0])
        (marks / "go").touch()

    killer = threading.Thread(target=kill_a_node_and_let_the_runs_end)
    killer.start()
    try:
        outcomes = list(run_all(specs, folder, workers=2, experiment=wait, record=record, ray=nodes.address))
    finally:
        killer.join()
    assert len(lost) == 1
    assert sorted(outcome.spec.name for outcome in outcomes) == ["a", "b", "c", "d", "dies", "fails"]
    failed = {outcome.spec.name: outcome.failure for outcome in outcomes if outcome.failure}
    assert failed.keys() == {"fails", "dies"}
    assert "ArithmeticError: this one fails" in failed["fails"]
    assert "its worker was lost each time: WorkerCrashedError" in failed["dies"]
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "b.txt", "c.txt", "d.txt"]
    survivor = nodes.head_node.node_id
    assert {path.read_text() for path in folder.iterdir()} == {survivor}
    assert len(list(marks.glob(f"{lost[0]} on *"))) == 2  # was begun on either node, and written once


def test_a_cluster_is_sent_the_caller_s_package_beside_our_own(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("")
    ours = [str(ROOT / package) for package in ("nb_agents", "nb_evaluation", "nb_gym", "nb_runtime")]
    assert cluster.runtime_env(tmp_path)["py_modules"] == [*ours, str(tmp_path)]
    for code in (None, script, ROOT / "nb_gym"):
        assert cluster.runtime_env(code)["py_modules"] == ours


@pytest.mark.parametrize("address", ["auto", "10.0.0.1:6379", "[::1]:6379", "ray://head.example.org:10001"])
def test_addresses(address):
    assert check_address(address) == address


@pytest.mark.parametrize("address", ["", "head", "head:", ":6379", "head:port", "head:0", "head:70000", "ray://head"])
def test_what_is_no_address_is_named(address):
    with pytest.raises(ValueError, match=rf"HOST:PORT, ray://HOST:PORT or auto; got '{address}'"):
        reach(address)


@pytest.mark.parametrize("prefix", ["", "ray://"])
def test_an_address_where_nothing_listens(prefix, tmp_path):
    with socket.socket() as taken:  # and bound, so that nothing else will
        taken.bind(("127.0.0.1", 0))
        address = f"{prefix}127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=f"no Ray cluster answers at {address}: .*refused"):
            run_all([Wait("a", tmp_path)], tmp_path, workers=1, experiment=wait, record=record, ray=address)
    assert list(tmp_path.iterdir()) == []


def test_an_address_where_something_else_listens(monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=f"no Ray cluster answers at {address} within 2 s"):
            reach(address)


def test_without_ray_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "neural-battery\[ray\]"'):
        reach("127.0.0.1:6379")
