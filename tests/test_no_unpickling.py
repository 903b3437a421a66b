"""Nothing that a stranger made is unpickled: reading a pickle runs whatever code it holds."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("defensive_tensorization", "scripts", "examples")
UNPICKLERS = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "shelve",
    "marshal",
    "joblib",
    "jsonpickle",
}

RUNS_JOBS = {"Parallel", "delayed"}  # of joblib: they read what this program's own workers wrote


def offences(source: str) -> list[str]:
    """Lines that read a pickle, or might."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = {(node.module or "").partition(".")[0]}
            if {alias.name for alias in node.names} <= RUNS_JOBS:
                names -= {"joblib"}
            renamed = {alias.name for alias in node.names} & {"load", "read_pickle"}
            if renamed and names & {"torch", "numpy", "pandas"}:
                found.append(f"{node.lineno}: load under another name is not followed")
        else:
            names = set()
        found += [f"{node.lineno}: imports {name}" for name in sorted(names & UNPICKLERS)]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            found += [f"{node.lineno}: {text}" for text in _of_call(node, node.func)]
    return found


def _of_call(node: ast.Call, called: ast.Attribute) -> list[str]:
    said = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
    given = {k.arg for k in node.keywords}
    module = called.value.id if isinstance(called.value, ast.Name) else ""
    if (module, called.attr) == ("torch", "load") and said.get("weights_only") is not True:
        return ["torch.load without weights_only=True"]
    if called.attr == "load_url" or called.attr == "load_state_dict_from_url":
        return [f"{called.attr} reads with torch.load"] * (said.get("weights_only") is not True)
    if "allow_pickle" in given and said.get("allow_pickle") is not False:
        return ["allow_pickle=True"]
    if called.attr in ("read_pickle", "unsafe_load") or ((module, called.attr) == ("yaml", "load")):
        return [f"{called.attr} runs code"]
    if called.attr == "add_safe_globals":
        return ["add_safe_globals lets more than tensors through"]
    return []


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_is_unpickled(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files or folder == "examples"
    found = {str(file.relative_to(ROOT)): offences(file.read_text()) for file in files}
    assert {file: lines for file, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import torch\ntorch.load(f)",
        "torch.load(f, weights_only=False)",
        "torch.load(f, 'cpu', weights_only=flag)",
        "import pickle",
        "from pickle import loads",
        "def f():\n    import joblib.numpy_pickle",
        "from torch import load",
        "np.load(f, allow_pickle=True)",
        "numpy.load(f, allow_pickle=flag)",
        "pandas.read_pickle(f)",
        "yaml.load(f)",
        "torch.serialization.add_safe_globals([X])",
        "torch.hub.load_state_dict_from_url(url)",
    ],
)
def test_the_check_sees_one_that_is(line: str) -> None:
    assert offences(line)


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(f, map_location='cpu', weights_only=True, mmap=True)",
        "np.load(f, allow_pickle=False)",
        "np.load(f)",  # numpy's default is False since 1.16.3
        "json.load(f)",
        "yaml.safe_load(f)",
    ],
)
def test_the_check_lets_plain_data_through(line: str) -> None:
    assert offences(line) == []
