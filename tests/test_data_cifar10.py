"""CIFAR-10 from a tree and from torchvision's batch files, at a tiny size."""

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from defensive_tensorization.data import cifar10
from defensive_tensorization.errors import UsageError

PUBLISHED = "airplane automobile bird cat deer dog frog horse ship truck".split()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "PER_CLASS", {"train": 2, "test": 1})


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for split, count in {"train": 2, "test": 1}.items():
        for class_name in PUBLISHED:
            folder = tmp_path / "tree" / split / class_name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.jpg", quality=75)
    return tmp_path / "tree"


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Files of the original's form with random pixels; torchvision is told their checksums."""
    random = np.random.default_rng(0)
    folder = tmp_path / "root" / CIFAR10.base_folder
    folder.mkdir(parents=True)
    arrays = {}

    def write(file: str, content: dict[str, object]) -> str:
        data = pickle.dumps(content)
        (folder / file).write_bytes(data)
        return hashlib.md5(data).hexdigest()

    def batch(file: str) -> list[str]:
        arrays[file] = random.integers(0, 256, (10, 3072), dtype=np.uint8)
        arrays[f"{file} labels"] = random.integers(0, 10, 10)
        labels = arrays[f"{file} labels"].tolist()
        return [file, write(file, {"data": arrays[file], "labels": labels})]

    monkeypatch.setattr(CIFAR10, "train_list", [batch(f"data_batch_{i}") for i in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch")])
    md5 = write("batches.meta", {"label_names": PUBLISHED})
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return arrays


def load(source: str, root: Path, download: bool = False, cache: Path | None = None):
    return cifar10.load(
        name="cifar10", unit=1 / 255, source=source, root=root, download=download, cache=cache
    )


def test_what_the_data_set_must_hold_is_cifar10s() -> None:
    assert list(cifar10.CLASSES) == PUBLISHED == sorted(PUBLISHED)
    assert cifar10.PER_CLASS == {"train": 5000, "test": 1000} and cifar10.SIZE == (32, 32)
    assert CIFAR10.tgz_md5 == cifar10.ARCHIVE_MD5


@pytest.mark.usefixtures("tiny")
def test_folder_source(tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = load("folder", tree, cache=tmp_path / "cache")
    assert (task.name, task.title) == ("cifar10", "CIFAR-10, JPEG q75")
    assert task.train.labels.tolist() == [label for label in range(10) for _ in range(2)]
    frog = np.asarray(Image.open(tree / "test/frog/0.jpg")).transpose(2, 0, 1)
    np.testing.assert_array_equal(task.test.inputs[PUBLISHED.index("frog")].numpy(), frog)
    assert task.flip and task.unit == 1 / 255 and task.bounds == (0.0, 1.0)

    again = load("folder", tree, cache=tmp_path / "cache")
    assert again.digest == task.digest and again.title == task.title
    assert torch.equal(again.train.inputs, task.train.inputs)
    assert not caplog.records

    (tree / "test/frog/0.jpg").write_bytes((tree / "test/ship/0.jpg").read_bytes())
    changed = load("folder", tree, cache=tmp_path / "cache")
    assert changed.digest != task.digest, "an edited tree is read again"


def test_folder_that_is_not_the_whole_is_refused(tree: Path) -> None:
    with pytest.raises(
        UsageError, match="train/airplane holds 2 images, the data set has exactly 5,000"
    ):
        load("folder", tree)


def test_torchvision_source(tmp_path: Path, batches: dict[str, np.ndarray]) -> None:
    task = load("torchvision", tmp_path / "root", cache=tmp_path / "cache")
    assert task.title == "CIFAR-10" and list(task.classes) == PUBLISHED
    names = [f"data_batch_{i}" for i in range(1, 6)]
    pixels = np.concatenate([batches[name] for name in names])
    labels = np.concatenate([batches[f"{name} labels"] for name in names])
    # the file format: 1,024 red values row by row, then green, then blue
    np.testing.assert_array_equal(task.train.inputs.reshape(50, 3072).numpy(), pixels)
    np.testing.assert_array_equal(task.train.labels.numpy(), labels)
    np.testing.assert_array_equal(task.test.labels.numpy(), batches["test_batch labels"])
    assert task.train.labels.dtype == torch.int64
    cached = load("torchvision", tmp_path / "gone", cache=tmp_path / "cache")
    assert cached.digest == task.digest


@pytest.mark.parametrize("file", ["data_batch_3", "test_batch", "batches.meta"])
@pytest.mark.usefixtures("batches")
def test_damaged_and_missing_batches_are_named(tmp_path: Path, file: str) -> None:
    path = tmp_path / "root" / CIFAR10.base_folder / file
    remedy = r": set dataset.download=true, or dataset.source=folder dataset.root="
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UsageError, match=f"{path} does not match its checksum{remedy}"):
        load("torchvision", tmp_path / "root")
    path.unlink()
    with pytest.raises(UsageError, match=f"{path} is missing{remedy}"):
        load("torchvision", tmp_path / "root")


def test_download_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(
        UsageError, match="CIFAR-10 cannot be downloaded to .*connect to the network"
    ) as e:
        load("torchvision", tmp_path, download=True)
    assert "\n" not in str(e.value)


@pytest.mark.usefixtures("batches")
def test_download_of_a_folder_that_is_whole_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    assert len(load("torchvision", tmp_path / "root", download=True).train) == 50


def test_unknown_source(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be torchvision or folder, got 'kaggle'"):
        load("kaggle", tmp_path)


def test_importing_the_room_imports_nothing_heavy() -> None:
    code = (
        "import sys, torch; before = set(sys.modules);"
        "from defensive_tensorization.data import cifar10, digits, folder;"
        "new = {name.split('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new & {'torchvision', 'sklearn', 'PIL', 'scipy'}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
