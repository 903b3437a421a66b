"""The package as others install it: built, without its checkout, without extras; slow.

Environments are made by hand: the core's distributions are linked in from this one, so nothing that
an extra brings can be imported. Resolving, and the lowest versions, ask the package index.
"""

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from zipfile import ZipFile

import pytest
from helpers.described import DOT, PROJECT, PYTHONS, ROOT, committed_files
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

UV = [sys.executable, "-m", "uv"]
# Tests of the library alone: no configuration, no data set, no table.
LIBRARY = (
    "audit_power batchnorm eot library quantization randomness recalibrate scores sketching "
    "squeezing threat_model tucker xnor xnor_convert"
).split()
EXTRAS = "foolbox hydra tqdm PIL matplotlib torchvision torchaudio wandb omegaconf sklearn".split()

pytestmark = pytest.mark.slow


def run(*words: object, cwd: Path, limit: float = 1200) -> subprocess.CompletedProcess[str]:
    """Without this checkout on the path, and without its settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environment = kept | {"OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=limit,
    )


def done(*words: object, cwd: Path, limit: float = 1200) -> str:
    made = run(*words, cwd=cwd, limit=limit)
    assert made.returncode == 0, f"{words}\n{made.stdout}\n{made.stderr}"
    return made.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By way of a source distribution, from what is committed, without the package index."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for file in committed_files():
        target = source / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    words = ["build", "--quiet", "--no-build-isolation", "--python", sys.executable]
    done(*UV, *words, "--out-dir", out, source, cwd=out)
    [made] = out.glob("*.whl")
    return made


def closure(*names: str) -> set[str]:
    """Installed distributions, with what they require here."""
    found: set[str] = set()
    waiting = [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # asked for on another system alone
            continue
        found.add(name)
        for text in requires:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(requirement.name))
    return found


def site_of(environment: Path) -> Path:
    [site] = environment.glob("lib/python*/site-packages")
    return site


@pytest.fixture(scope="session")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of an environment with the wheel, the core and the test runner."""
    environment = tmp_path_factory.mktemp("bare") / "venv"
    done(sys.executable, "-m", "venv", "--without-pip", environment, cwd=environment.parent)
    core = [Requirement(text).name for text in PROJECT["dependencies"]]
    for name in closure(*core, "pytest", "hypothesis", "setuptools"):
        for file in metadata.distribution(name).files or []:
            top = file.parts[0]
            source = Path(str(metadata.distribution(name).locate_file(top)))
            target = site_of(environment) / top
            if top not in ("..", "__pycache__") and source.exists() and not target.exists():
                target.symlink_to(source)
    python = environment / "bin" / "python"
    done(*UV, "pip", "install", "-q", "--no-deps", "--python", python, wheel, cwd=environment)
    return python


def library_tests(folder: Path, names: list[str]) -> list[object]:
    """Words that run these test files on what the environment has installed."""
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = slow: slow\n")
    files = [f"tests/test_{name}.py" for name in names]
    chosen = ["-m", "not slow", "-k", "not foolbox"]  # nor what compares with others' code
    return ["-m", "pytest", "-q", *chosen, "-p", "no:cacheprovider", *files]


def test_the_wheel_holds_every_file_that_is_read(wheel: Path) -> None:
    held = {name for name in ZipFile(wheel).namelist() if not name.endswith("/")}
    package = "defensive_tensorization"
    wanted = {str(path.relative_to(ROOT)) for path in committed_files()}
    modules = {path for path in wanted if path.startswith((f"{package}/", "hydra_plugins/"))}
    shipped = {
        f"{package}/shipped/{path}"
        for path in wanted
        if (path.startswith("configs/") and path.endswith(".yaml"))
        or (path.startswith("results/paper/") and path.endswith(".csv"))
    }
    assert f"{package}/py.typed" in modules and len(shipped) > 100
    described = {name for name in held if DOT + "dist-info/" in name}
    assert held - described == modules | shipped


def test_the_library_s_tests_pass_without_extras(bare: Path, tmp_path: Path) -> None:
    check = "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, sys.argv[1:])))"
    done(bare, "-c", check, *EXTRAS, cwd=tmp_path)
    where = "import defensive_tensorization as dt; print(dt.__file__, dt.__version__)"
    file, version = done(bare, "-c", where, cwd=tmp_path).split()
    assert Path(file).is_relative_to(site_of(bare.parents[1]))
    printed = done(bare, *library_tests(tmp_path, LIBRARY), cwd=tmp_path)
    assert " passed" in printed and " failed" not in printed
    assert int(printed.rpartition(" passed")[0].split()[-1]) > 300
    said = done(bare.parent / "defensive-tensorization", "--version", cwd=tmp_path)
    assert said == f"defensive-tensorization {version}\n"


@pytest.mark.parametrize(
    ("words", "package", "extra"),
    [
        (["-m", "defensive_tensorization", "theta=0.9"], "(hydra|omegaconf)", "experiments"),
        (
            ["-m", "defensive_tensorization", "audit", "theta=0.9"],
            "(hydra|omegaconf)",
            "experiments",
        ),
        (
            ["-c", "from defensive_tensorization.models.logmel import LogMelSpectrogram as L; L()"],
            "torchaudio",
            "experiments",
        ),
        (
            [
                "-c",
                "import torch\nfrom defensive_tensorization.attacks.in_units import fgsm\n"
                "net = torch.nn.Linear(2, 2).eval()\n"
                "fgsm(epsilon=1, unit=0.1)(net, torch.rand(1, 2), torch.zeros(1).long(), (0, 1))",
            ],
            "foolbox",
            "attacks",
        ),
        (
            [
                "-c",
                "import torch\nfrom defensive_tensorization.attacks.in_units import autoattack\n"
                "net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)).eval()\n"
                "x, y = torch.rand(1, 1, 2, 2), torch.zeros(1).long()\n"
                "autoattack(epsilon=1, unit=0.1, version='rand')(net, x, y, (0, 1))",
            ],
            "pyautoattack",
            "attacks",
        ),
    ],
    ids=["the command", "audit", "torchaudio", "foolbox", "autoattack"],
)
def test_a_missing_extra_is_named_in_one_line(
    words: list[str], package: str, extra: str, bare: Path, tmp_path: Path
) -> None:
    made = run(bare, *words, cwd=tmp_path)
    remedy = re.escape(f'pip install "defensive-tensorization[{extra}]"')
    line = f"{package} is not installed: {remedy}\n"
    if words[0] == "-m":
        assert made.returncode == 2
        assert re.fullmatch(f"error: {line}", made.stderr), made.stderr
    else:
        assert made.returncode == 1
        last = made.stderr.splitlines(keepends=True)[-1]
        assert re.fullmatch(f"defensive_tensorization.errors.MissingExtra: {line}", last), last


def test_the_command_runs_in_any_folder_and_writes_below_it(wheel: Path, tmp_path: Path) -> None:
    """With every extra of this environment, and the wheel's files instead of the checkout's."""
    installed, here = tmp_path / "site", tmp_path / "anywhere"
    here.mkdir()
    words = [*UV, "pip", "install", "-q", "--no-deps", "--python", sys.executable]
    done(*words, "--target", installed, wheel, cwd=tmp_path)
    start = f"import sys; sys.path.insert(0, {str(installed)!r}); sys.argv[0] = 'x'\n"
    command = start + "from defensive_tensorization.cli import main; main()"
    words = ["model=convnet", "scale=smoke", "theta=1", "train.epochs=1", "attack=[fgsm]"]
    done(sys.executable, "-P", "-c", command, *words, "eval.images=20", "eval.epsilon=8", cwd=here)
    assert list((here / "runs" / "rows").rglob("*.jsonl"))
    render = start + "from defensive_tensorization.tables.render import main; main()"
    done(sys.executable, "-P", "-c", render, "table1", "scale=smoke", cwd=here)
    published = (ROOT / "results" / "paper" / "table1.csv").read_text().splitlines()[-1]
    table = (here / "results" / "smoke" / "table1.md").read_text()
    assert published.split(",")[-1].rstrip("0").rstrip(".") in table
    wrong = run(sys.executable, "-P", "-c", command, "foo=1", cwd=here)
    file = installed / "defensive_tensorization" / "shipped" / "configs" / "config.yaml"
    assert wrong.returncode == 2
    assert wrong.stderr == f"error: unknown key foo=1: see {file} for the keys there are\n"
    assert file.is_file()


RESOLVES = [
    (python, extras, how)
    for python in PYTHONS
    for extras, how in [([], "lowest-direct"), ([*PROJECT["optional-dependencies"]], "highest")]
]


@pytest.mark.parametrize(("python", "extras", "how"), RESOLVES, ids=lambda each: str(each))
def test_every_supported_python_resolves(
    python: str, extras: list[str], how: str, tmp_path: Path
) -> None:
    options = [word for extra in extras for word in ("--extra", extra)]
    words = ["pip", "compile", "--quiet", "--no-config", "--python-version", python, *options]
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    words += ["--only-binary", "torch", "--only-binary", "numpy", "--resolution", how]
    found = done(*UV, *words, "pyproject.toml", cwd=tmp_path)
    assert "\ntorch==" in found and ("\nhydra-core==" in found) == bool(extras)


def test_the_library_s_tests_pass_at_the_lowest_versions(wheel: Path, tmp_path: Path) -> None:
    """Downloads that torch (2 GB); under the oldest Python if it is here, else under this one."""
    oldest = shutil.which(f"python{PYTHONS[0]}")
    served = oldest and run(oldest, "-c", "import venv", cwd=tmp_path).returncode == 0
    python = tmp_path / "venv" / "bin" / "python"
    base = oldest if served else sys.executable
    done(*UV, "venv", "-q", "--no-config", "--python", base, tmp_path / "venv", cwd=tmp_path)
    words = ["pip", "install", "-q", "--no-config", "--python", python, "--only-binary", "numpy"]
    core = [wheel, "--resolution", "lowest-direct"]
    done(*UV, *words, *core, cwd=tmp_path)
    frozen = done(*UV, "pip", "freeze", "--python", python, cwd=tmp_path)
    assert "torch==2.4.0\n" in frozen or not served
    lines = [line for line in frozen.splitlines() if "defensive" not in line]
    (tmp_path / "core.txt").write_text("\n".join(lines))
    done(*UV, *words, "-c", "core.txt", "pytest", "hypothesis", "setuptools", cwd=tmp_path)
    printed = done(python, *library_tests(tmp_path, LIBRARY), cwd=tmp_path)
    assert int(printed.rpartition(" passed")[0].split()[-1]) > 300
