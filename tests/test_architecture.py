"""The plan of the house, as docs/architecture.md draws it: imports run one way, and results are read without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = {
    "nb_runtime": [],
    "nb_evaluation": [
        "files seal method",
        "kept",
        "stats",
        "runs",
        "arguments report",
        "question",
        "reader page job show",
    ],
    "nb_gym": [
        "rendering",
        "context",
        "interface",
        "vector_base scalar_base",
        "pendulum navigation mujoco wrappers",
    ],
    "nb_agents": [
        "_checks _objects _old_names _progress _tensor_file returns",
        "gates vec_env",
        "inference",
        "adapters",
        "policies",
        "contrib surgery battery tracking recipe",
        "export target transfer fleet adaptation maml",
        "comparison",
    ],
    "benchmarks": [
        "protocol",
        "methods",
        "runs report",
        "questions",
        "speed rl_zoo",
        "commands",
        "__main__",
    ],
}
"""From the ground up: a room imports from floors below its own, and inside a floor in one direction."""

BELOW = {
    "nb_runtime": set(),
    "nb_gym": set(),
    "nb_evaluation": set(),
    "nb_agents": {"nb_evaluation", "nb_runtime"},
    "benchmarks": {"nb_agents", "nb_evaluation", "nb_gym", "nb_runtime"},
}


def imported(path: Path) -> set[str]:
    """Modules of ours that a file imports, at the top or where they are used."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= names_of(node)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.partition(".")[0] in FLOORS}


def names_of(node: ast.ImportFrom) -> set[str]:
    """The modules of a `from … import …`: the package itself only where something else than a module is taken."""
    inner = {f"{node.module}.{alias.name}" for alias in node.names}
    modules = {name for name in inner if is_module(name)}
    return modules | ({node.module or ""} if modules != inner else set())


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def rooms(package: str) -> dict[str, set[str]]:
    """The rooms of a package that each of its rooms imports from."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT / package).with_suffix("").parts
        if parts == ("__init__",) or "results" in parts or "out" in parts:
            continue
        names = {name.split(".")[1] for name in imported(path) if name.startswith(f"{package}.")}
        found.setdefault(parts[0], set()).update(names - {parts[0]})
    known = found.keys()
    return {room: others & known for room, others in found.items()}


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_stands_on_a_floor_and_imports_from_those_below(package: str) -> None:
    level = {room: i for i, floor in enumerate(FLOORS[package]) for room in floor.split()}
    plan = rooms(package)
    assert plan.keys() == level.keys()
    climbing = {f"{room} -> {other}" for room, others in plan.items() for other in others if level[other] > level[room]}
    assert not climbing
    circles = {f"{room} <-> {other}" for room, others in plan.items() for other in others if room in plan[other]}
    assert not circles


@pytest.mark.parametrize("package", FLOORS)
def test_packages_import_one_way(package: str) -> None:
    used = {name.partition(".")[0] for path in (ROOT / package).rglob("*.py") for name in imported(path)} - {package}
    assert used <= BELOW[package]


@pytest.mark.parametrize("package", FLOORS)
def test_files_import_in_no_circle(package: str) -> None:
    """File by file, as far as imports at the top go: those inside functions come later."""
    graph = {}
    for path in (ROOT / package).rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        top = ast.Module([node for node in ast.parse(path.read_text()).body if not isinstance(node, ast.If)], [])
        names = set()
        for node in top.body:
            if isinstance(node, ast.ImportFrom) and node.module:
                names |= names_of(node)
        graph[name] = names
    graph = {name: {other for other in others if other in graph and other != name} for name, others in graph.items()}
    while leaves := [name for name, others in graph.items() if not others & graph.keys()]:
        for name in leaves:
            del graph[name]
    assert not graph, f"these import each other: {sorted(graph)}"


def test_no_file_is_longer_than_a_reader_likes() -> None:
    files = [path for package in FLOORS for path in (ROOT / package).rglob("*.py")]
    assert not {str(path) for path in files if len(path.read_text().splitlines()) > 300}


def test_tables_and_pages_are_made_without_torch_and_sb3(tmp_path: Path) -> None:
    """The committed results, in a process that cannot import either."""
    code = (
        "import sys\n"
        "class Without:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name in ('torch', 'stable_baselines3'): raise ImportError(name)\n"
        "sys.meta_path.insert(0, Without())\n"
        "from pathlib import Path\n"
        "from benchmarks.questions import all_questions\n"
        "from nb_evaluation.reader import read_folder\n"
        "from nb_evaluation.page import html_page, make_section\n"
        "jobs, _ = read_folder(Path('benchmarks/results'), all_questions())\n"
        "small = [job for job in jobs if job.name in ('sequence', 'transfer-sac', 'sign_flip')]\n"
        "sections = [make_section(job) for job in small]\n"
        "print(len(sections), len(html_page(sections, [])))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 ")
