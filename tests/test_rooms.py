"""Who may import whom: the rooms of the package, enforced on the source.

A room is a folder or a module directly under the package. Imports inside functions count too.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "defensive_tensorization"
NAME = PACKAGE.name

# room -> what of the package it may import (a room, or one module of it as "room.module").
# From the ground up: a room imports only what stands above it in this table.
INSIDE: dict[str, set[str]] = {
    "system": set(),
    "errors": {"system"},
    "config": {"errors", "system"},
    "tracking": {"errors", "system"},
    "results": {"errors", "system"},
    "report": {"errors", "results", "system"},
    "sketching": {"errors", "system"},
    "randomness": {"errors", "sketching", "system"},
    "replacement": {"errors", "system"},
    "tucker": {"errors", "replacement", "sketching", "system"},
    "xnor": {"errors", "replacement", "sketching", "system"},
    "models": {"errors", "sketching", "system"},
    "defences": {"errors", "sketching", "system"},
    "data": {"errors", "system"},
    "attacks": {"errors", "randomness", "sketching", "system", "results.scores"},
    "auditing": {
        *("errors", "randomness", "sketching", "system", "results", "report", "attacks", "xnor"),
    },
    "sweeps": {"errors", "system", "config"},
    "training": {"errors", "sketching", "system", "data", "models.batchnorm", "attacks.native"},
}
INSIDE["released"] = {"errors", "system", "tucker", "xnor", "models", "defences", "data"}
LIBRARY = set(INSIDE)
INSIDE["__init__"] = LIBRARY  # the public API
INSIDE["experiment"] = LIBRARY
INSIDE["tables"] = LIBRARY | {"experiment"}
INSIDE["commands"] = LIBRARY | {"experiment", "tables", "__init__"}
INSIDE["run"] = LIBRARY | {"experiment", "tables", "commands"}
INSIDE["cli"] = {"errors", "__init__", "system"}  # OpenMP is told before torch is loaded
INSIDE["__main__"] = {"cli"}
FLOORS = list(INSIDE)

# room -> the only libraries, beyond Python's own, that it may import
LIBRARIES = {
    "errors": set(),
    "sketching": {"torch"},
    "randomness": {"torch", "numpy"},
    "replacement": {"torch"},
    "tucker": {"torch", "tensorly"},
    "xnor": {"torch", "tensorly"},
    "released": {"torch"},
    "results": {"numpy", "filelock"},
    "report": {"jinja2", "markdown", "markupsafe", "matplotlib", "numpy", "PIL"},
}
# library -> the only rooms that may import it
ONLY_IN = {
    "hydra": {"run", "config", "sweeps", "__main__"},
    "omegaconf": {"run", "config", "sweeps", "__main__"},
    "wandb": {"tracking"},
    "wandb_workspaces": {"commands"},
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


def _of_file(package: Path, file: Path, deep: bool = True) -> Iterator[Import]:
    """The imports of a file; not `deep`: those alone that run when it is imported."""
    path = file.relative_to(package)
    room = path.parts[0].removesuffix(".py")
    parents = [NAME, *path.parts[:-1]]
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree) if deep else _at_import(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(room, str(path), alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = parents[: len(parents) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{module}.{alias.name}"
                yield Import(room, str(path), full if _is_module(package, full) else module)


def _at_import(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _at_import(child)


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
        if entry.room not in INSIDE:
            found.append(f"{line}: {entry.room} is no room of the table")
        if entry.library == "scripts":
            found.append(f"{line}: nothing imports scripts")
        if inside is None:
            if entry.room not in ONLY_IN.get(entry.library, {entry.room}):
                found.append(f"{line}: only {sorted(ONLY_IN[entry.library])} may")
            if entry.room in LIBRARIES and not _allowed_library(entry):
                found.append(f"{line}: only {sorted(LIBRARIES[entry.room])} are allowed there")
        elif inside.split(".")[0] != entry.room:
            allowed = INSIDE.get(entry.room, set())
            if not _covers(allowed, inside or "__init__"):
                found.append(f"{line}: only {sorted(allowed)} are allowed there")
    return found + [f"torch is within report's reach: {way}" for way in ways_to_torch(package)]


def _allowed_library(entry: Import) -> bool:
    return entry.library in LIBRARIES[entry.room] | sys.stdlib_module_names | {"typing_extensions"}


def ways_to_torch(package: Path) -> list[str]:
    """Imports of torch that run when a module of report is imported."""
    reached: set[Path] = set()
    waiting = sorted((package / "report").glob("*.py"))
    found = []
    while waiting:
        file = waiting.pop()
        if file in reached:
            continue
        reached.add(file)
        for entry in _of_file(package, file, deep=False):
            if entry.library.startswith("torch"):
                found.append(f"{entry.file} imports {entry.target}")
            if entry.inside:
                waiting.extend(_files(package, entry.inside))
    return found


def _files(package: Path, inside: str) -> list[Path]:
    """What Python runs to import a module of the package: every __init__ on the way, and it."""
    at, found = package, []
    for word in inside.split("."):
        at = at / word
        found += [each for each in (at / "__init__.py", at.with_suffix(".py")) if each.is_file()]
    return found


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


def test_the_table_names_every_room_and_no_other() -> None:
    there = {p.stem for p in PACKAGE.glob("*.py")} | {p.parent.name for p in PACKAGE.glob("*/*.py")}
    assert there == set(INSIDE)


def test_no_room_imports_upwards() -> None:
    for room, allowed in INSIDE.items():
        for other in allowed:
            assert FLOORS.index(other.split(".")[0]) < FLOORS.index(room), (room, other)


def test_rooms_do_not_import_each_other_in_a_circle() -> None:
    assert cycle(rooms(PACKAGE)) == []


@pytest.mark.parametrize("folder", ["tests", "scripts"])
def test_nothing_imports_scripts(folder: str) -> None:
    for file in (PACKAGE.parent / folder).rglob("*.py"):
        for entry in _of_file(PACKAGE.parent / folder, file):
            assert entry.library != "scripts", file


def test_tests_import_helpers_from_one_place_and_not_each_other() -> None:
    tests = PACKAGE.parent / "tests"
    beside = {file.stem for file in tests.glob("*.py")}
    assert {name for name in beside if not name.startswith("test_")} == {"conftest"}
    for file in tests.rglob("*.py"):
        for entry in _of_file(tests, file):
            assert entry.library not in beside, file


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("system/malloc.py", "from ..results import row", "only [] are"),
        ("xnor/sign.py", "import foolbox", "only ['tensorly', 'torch']"),
        ("tucker/conv.py", "from ..xnor import sign", "'sketching', 'system'"),
        ("models/resnet.py", f"from {NAME}.tucker import TuckerConv2d", "only"),
        ("models/resnet.py", f"def f():\n    from {NAME} import xnor", "only"),
        ("data/digits.py", f"from {NAME} import attacks", "only ['errors', 'system']"),
        ("results/row.py", f"import {NAME}.models", "only ['errors', 'system']"),
        ("attacks/pgd.py", f"from {NAME}.data import cifar10", "only"),
        ("attacks/pgd.py", "from ..results.store import read", "'results.scores'"),
        ("training/loop.py", "from ..models import resnet", "'models.batchnorm'"),
        ("auditing/checks.py", "from ..experiment import plan", "only"),
        ("experiment/plan.py", "from ..tables import render", "only"),
        ("tables/render.py", "def f():\n    from ..commands import status", "only"),
        ("commands/status.py", "from .. import run", "only"),
        ("report/tables.py", "import torch.nn", "within report's reach"),
        ("report/tables.py", "from . import absent\nimport hydra", "'config', 'run', 'sweeps'"),
        ("results/row.py", "import torch", "within report's reach"),
        ("results/row.py", "from ..system import torchy", "within report's reach"),
        ("training/loop.py", "from omegaconf import DictConfig", "'config', 'run', 'sweeps'"),
        ("training/loop.py", "import wandb", "only ['tracking'] may"),
        ("run.py", "from scripts import render", "nothing imports scripts"),
        ("lobby/door.py", "from ..system import malloc", "lobby is no room of the table"),
    ],
)
def test_the_check_sees_an_import_that_breaks_it(
    file: str, line: str, complaint: str, tmp_path: Path
) -> None:
    package = tmp_path / NAME
    modules = "system.malloc xnor.sign tucker.conv models.resnet data.cifar10 attacks.pgd"
    modules += " training.loop auditing.checks experiment.plan tables.render commands.status run"
    for name in modules.split():
        made = package.joinpath(*name.split(".")).with_suffix(".py")
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text("import math\n")
    for name in ("results", "report", "lobby"):
        (package / name).mkdir()
    (package / "results" / "row.py").write_text("import json\n")
    (package / "results" / "store.py").write_text("import json\n")
    (package / "report" / "figures.py").write_text(f"from {NAME}.results.row import Row\n")
    (package / "system" / "torchy.py").write_text("import torch\n")
    assert violations(package) == []
    (package / file).write_text(line + "\n")
    found = violations(package)
    assert found
    assert any(complaint in text for text in found)


def test_the_check_allows_what_the_table_allows(tmp_path: Path) -> None:
    package = tmp_path / NAME
    for room in ("attacks", "sketching", "config", "results", "report", "system"):
        (package / room).mkdir(parents=True)
    (package / "attacks" / "pgd.py").write_text(
        f"import foolbox\nfrom {NAME}.errors import UsageError\nfrom {NAME} import sketching\n"
        f"from {NAME}.results.scores import Answers\n"
    )
    (package / "sketching" / "control.py").write_text("import math\nimport torch\n")
    (package / "config" / "compose.py").write_text("import hydra\nfrom ..errors import end\n")
    (package / "system" / "provenance.py").write_text("def versions():\n    import torch\n")
    (package / "results" / "row.py").write_text("from ..system import provenance\n")
    (package / "results" / "scores.py").write_text("import numpy\n")
    (package / "report" / "tables.py").write_text("from ..results.row import Row\n")
    assert violations(package) == []


def test_a_circle_is_found() -> None:
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}}) == []
