"""Every test: few threads, no W&B unless asked for, and hypothesis without a clock."""

import gc
from importlib.util import find_spec
from pathlib import Path

import pytest

from defensive_tensorization.system import cores

cores.prepare()  # before torch is loaded

gc.set_threshold(20_000, 20, 50)  # compositions make many objects: a tenth of their tests' time

# The longest first, so that processes which take file by file end together.
LONGEST = "run experiments golden config audit"


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False  # pytest-xdist's own order: by the number of tests
    if not config.getoption("numprocesses", None):  # the process that hands out tests runs none
        prepare(config)


def prepare(config: pytest.Config) -> None:
    """Import what tests need: seconds, which the first process has before the others start."""
    import torch
    from hypothesis import HealthCheck, settings

    torch.set_num_threads(min(2, torch.get_num_threads()))  # which heeds OMP_NUM_THREADS
    settings.register_profile(
        "unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
    )
    settings.load_profile("unhurried")
    if find_spec("hydra"):  # without the extras there is no command to record
        config.pluginmanager.import_plugin("helpers.recorded")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {f"test_{name}": i for i, name in enumerate(LONGEST.split())}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(autouse=True, scope="module")
def what_is_loaded_stays() -> None:
    """Collections, and the library's search for old weights, pass over what other files left."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def pictures_are_coarse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the resolution: nothing else reads a picture than tests marked `sharp`."""
    if request.node.get_closest_marker("sharp") or not find_spec("matplotlib"):
        return
    from matplotlib.figure import Figure

    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: save(self, *a, **k | {"dpi": 50}))


@pytest.fixture(autouse=True)
def wandb_stays_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    home: Path = tmp_path_factory.getbasetemp() / "wandb"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    for variable in ("WANDB_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(variable, str(home))
