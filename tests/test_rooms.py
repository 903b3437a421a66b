"""Who may import whom: the rooms of the package, enforced on the source.

A room is a module or a folder directly under the package. Imports inside functions count too.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "defensive_tensorization"
NAME = PACKAGE.name

SHARED = {"errors", "provenance"}  # any room may import these

# room -> what of the package it may import (a room, or one module of it as "room.module")
INSIDE = {
    "errors": {"output"},
    "provenance": set(),
    "scores": set(),
    "output": {"stopping"},
    "stopping": set(),
    "epsilon": set(),
    "convolution": set(),
    "thread_context": set(),
    "recompute": set(),
    "eager": set(),
    "in_graph": set(),
    "draws": {"eager", "in_graph", "recompute", "thread_context"},
    "sketch": {"draws"},
    "sketching": {"draws"},
    "tucker": {"draws", "eager", "sketch", "convolution"},
    "xnor": {"sketching", "convolution"},
    "models": {"sketching", "convolution"},
    "attacks": {"epsilon", "sketching", "shares", "data.task"},
    "shares": set(),
    "distributed": {"shares", "batchnorm"},
    "defences": {"draws", "sketch", "sketching", "data.task"},
    "panels": set(),
    "report": {"results", "scores", "panels"},
    "tracking": set(),
}
# room -> what of the package it may not import, where the rest is left open
NOT_INSIDE = {
    "data": {"models", "attacks", "defences", "tucker", "xnor", "draws", "sketch", "sketching"},
    "results": {"models", "attacks", "defences", "tucker", "xnor", "sketch", "sketching"},
    "store": {"models", "attacks", "defences", "tucker", "xnor", "sketch", "sketching"},
}
# room -> the only libraries, beyond Python's own, that it may import
LIBRARIES = {
    "scores": {"numpy"},
    "convolution": {"torch"},
    "draws": {"torch"},
    "sketch": {"torch"},
    "sketching": {"torch"},
    "tucker": {"torch", "tensorly"},
    "xnor": {"torch", "tensorly"},
    "panels": {"numpy"},
    "report": {"matplotlib", "numpy", "PIL"},
}
# library -> the only rooms that may import it
ONLY_IN = {
    "hydra": {"run", "config", "sweeps", "__main__"},
    "omegaconf": {"run", "config", "sweeps", "__main__"},
    "wandb": {"tracking"},
    "wandb_workspaces": {"dashboard"},
}


@dataclass(frozen=True)
class Import:
    room: str
    file: str
    target: str  # dotted, as written, relative imports resolved

    @property
    def library(self) -> str:
        return self.target.split(".")[0]

    @property
    def inside(self) -> str | None:
        """The dotted path within the package, "" for the package itself; None for a library."""
        head, _, rest = self.target.partition(".")
        return rest if head == NAME else None


def imports(package: Path) -> list[Import]:
    return [found for file in sorted(package.rglob("*.py")) for found in _of_file(package, file)]


def _of_file(package: Path, file: Path) -> Iterator[Import]:
    path = file.relative_to(package)
    room = path.parts[0].removesuffix(".py")
    parents = [NAME, *path.parts[:-1]]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(room, str(path), alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{module}.{alias.name}"
                yield Import(room, str(path), full if _is_module(package, full) else module)


def _is_module(package: Path, dotted: str) -> bool:
    head, *rest = dotted.split(".")
    at = package.joinpath(*rest)
    return head == NAME and (at.is_dir() or at.with_suffix(".py").is_file())


def _covers(allowed: set[str], inside: str) -> bool:
    return any(inside == name or inside.startswith(f"{name}.") for name in allowed)


def violations(package: Path) -> list[str]:
    found = []
    for entry in imports(package):
        line = f"{entry.file} imports {entry.target}"
        inside = entry.inside
        if entry.library == "scripts":
            found.append(f"{line}: nothing imports scripts")
        if inside is None:
            if entry.room not in ONLY_IN.get(entry.library, {entry.room}):
                found.append(f"{line}: only {sorted(ONLY_IN[entry.library])} may")
            if entry.room in LIBRARIES and not _allowed_library(entry):
                found.append(f"{line}: only {sorted(LIBRARIES[entry.room])} are allowed there")
        elif inside.split(".")[0] not in {entry.room, *SHARED}:
            if entry.room in INSIDE and not _covers(INSIDE[entry.room], inside):
                found.append(f"{line}: only {sorted(INSIDE[entry.room])} are allowed there")
            if _covers(NOT_INSIDE.get(entry.room, set()), inside):
                found.append(f"{line}: {entry.room} knows no model and no attack")
    return found + [f"torch is within report's reach: {way}" for way in ways_to_torch(package)]


def _allowed_library(entry: Import) -> bool:
    typing = {"typing_extensions"}  # for type checkers alone
    return entry.library in LIBRARIES[entry.room] | typing | sys.stdlib_module_names


def ways_to_torch(package: Path) -> list[str]:
    """Imports of torch at the top level of any room that report reaches."""
    graph = rooms(package)
    reached, waiting = set(), ["report"]
    while waiting:
        room = waiting.pop()
        if room not in reached:
            reached.add(room)
            waiting.extend(graph.get(room, set()))
    return [
        f"{entry.file} imports {entry.target}"
        for entry in imports(package)
        if entry.room in reached - {"provenance"} and entry.library.startswith("torch")
    ]


def rooms(package: Path) -> dict[str, set[str]]:
    """Room -> the other rooms it imports."""
    graph: dict[str, set[str]] = {}
    for entry in imports(package):
        if entry.inside is not None:
            other = entry.inside.split(".")[0] or "__init__"
            graph.setdefault(entry.room, set()).update({other} - {entry.room})
    return graph


def cycle(graph: dict[str, set[str]]) -> list[str]:
    """The rooms of one import cycle in order, [] if there is none."""
    done: set[str] = set()

    def visit(room: str, way: list[str]) -> list[str]:
        if room in way:
            return [*way[way.index(room) :], room]
        if room in done:
            return []
        for other in sorted(graph.get(room, set())):
            if found := visit(other, [*way, room]):
                return found
        done.add(room)
        return []

    for room in sorted(graph):
        if found := visit(room, []):
            return found
    return []


def test_no_room_imports_what_it_must_not() -> None:
    assert violations(PACKAGE) == []


def test_rooms_do_not_import_each_other_in_a_circle() -> None:
    assert cycle(rooms(PACKAGE)) == []


@pytest.mark.parametrize("folder", ["tests", "scripts"])
def test_nothing_imports_scripts(folder: str) -> None:
    for file in (PACKAGE.parent / folder).glob("*.py"):
        for entry in _of_file(PACKAGE.parent / folder, file):
            assert entry.library != "scripts", file


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("xnor.py", "import foolbox", "only ['tensorly', 'torch']"),
        (
            "tucker/layers.py",
            "from ..xnor import sign",
            "only ['convolution', 'draws', 'eager', 'sketch']",
        ),
        ("models/resnet.py", "from defensive_tensorization.tucker import TuckerConv2d", "only"),
        ("models/resnet.py", "def f():\n    from defensive_tensorization import xnor", "only"),
        ("data/digits.py", "from defensive_tensorization import attacks", "no model and no attack"),
        ("results.py", "import defensive_tensorization.models", "no model and no attack"),
        ("attacks/pgd.py", "from defensive_tensorization.data import cifar10", "data.task"),
        ("report/tables.py", "import torch.nn", "within report's reach"),
        ("report/tables.py", "from . import absent\nimport hydra", "'config', 'run', 'sweeps'"),
        ("results.py", "import torch", "within report's reach"),
        ("train.py", "from omegaconf import DictConfig", "'__main__', 'config', 'run', 'sweeps'"),
        ("train.py", "import wandb", "only ['tracking'] may"),
        ("run.py", "from scripts import render", "nothing imports scripts"),
    ],
)
def test_the_check_sees_an_import_that_breaks_it(
    file: str, line: str, complaint: str, tmp_path: Path
) -> None:
    package = tmp_path / NAME
    for name in ("tucker", "models", "data", "attacks", "report"):
        (package / name).mkdir(parents=True)
    for name in ("xnor", "data/cifar10", "train", "run"):
        (package / f"{name}.py").write_text("import torch\n")
    (package / "results.py").write_text("import json\n")
    (package / "report" / "figures.py").write_text(f"from {NAME}.results import Row\n")
    assert violations(package) == []
    (package / file).write_text(line + "\n")
    found = violations(package)
    assert found
    assert any(complaint in text and text.count(file) for text in found)


def test_the_check_allows_what_the_table_allows(tmp_path: Path) -> None:
    package = tmp_path / NAME
    (package / "data").mkdir(parents=True)
    (package / "attacks").mkdir()
    (package / "data" / "task.py").write_text("import torch\n")
    (package / "attacks" / "pgd.py").write_text(
        f"import foolbox\nfrom {NAME}.data.task import Task\nfrom {NAME}.errors import UsageError\n"
        f"from {NAME} import sketching\n"
    )
    (package / "sketching.py").write_text("import math\nimport torch\n")
    (package / "config.py").write_text(f"import hydra\nfrom {NAME} import attacks, data\n")
    assert violations(package) == []


def test_a_circle_is_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}}) == []
