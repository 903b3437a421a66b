"""Thirty kinds of broken data, by the command: one line, exit code 2, nothing written."""

import os
import re
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.clip_tree import tone, twelve_folders, write
from PIL import Image

from defensive_tensorization import run
from defensive_tensorization.config import Config, composed
from defensive_tensorization.data import cifar10

Spoil = Callable[[Path], object]


def picture(path: Path, shape: tuple[int, ...] = (32, 32, 3), form: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path, form)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CIFAR-10 of two training images and one test image a class."""
    root = tmp_path_factory.mktemp("images")
    for split, count in {"train": 2, "test": 1}.items():
        for name in cifar10.CLASSES:
            for i in range(count):
                picture(root / split / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return twelve_folders(tmp_path_factory.mktemp("clips"), speakers=12)


@pytest.fixture(scope="module")
def configs() -> dict[str, Config]:
    common = ("dataset.source=folder", "dataset.cache=cache", "paths.runs=runs", "logger=none")
    audio = ("dataset=speech_commands", "model=soundnet5", "train=speech_commands")
    return {"images": composed(["dataset=cifar10", *common]), "clips": composed([*audio, *common])}


def cut(name: str, keep: float = 0.6) -> Spoil:
    return lambda r: (r / name).write_bytes(
        (r / name).read_bytes()[: int(keep * (r / name).stat().st_size)]
    )


def flip(name: str) -> Spoil:
    def spoil(root: Path) -> None:
        data = bytearray((root / name).read_bytes())
        data[len(data) // 2] ^= 0x10
        (root / name).write_bytes(data)

    return spoil


def gone(name: str) -> Spoil:
    return lambda r: shutil.rmtree(r / name) if (r / name).is_dir() else (r / name).unlink()


def text(name: str, content: bytes = b"not what it says") -> Spoil:
    return lambda r: (r / name).write_bytes(content)


def packed(then: Spoil, suffix: str = ".tar.gz", twice: bool = False) -> Spoil:
    """The tree gives way to a tar of it, and that is spoiled."""

    def spoil(root: Path) -> None:
        whole = root.with_name("whole")
        root.rename(whole)
        with tarfile.open(root.with_name(f"data{suffix}"), f"w:{suffix[5:]}") as archive:
            for _ in range(1 + twice):
                archive.add(whole, ".")
        shutil.rmtree(whole)
        then(root.with_name(f"data{suffix}"))

    return spoil


CAT, WORD = "train/cat/1.png", "yes/00000001_nohash_0.flac"
DECODED = f"{CAT} cannot be decoded"

IMAGES: dict[str, tuple[Spoil, str]] = {
    "no folder": (gone("."), "does not exist: name a folder"),
    "a file for a folder": (
        lambda r: (shutil.rmtree(r), r.write_text("x")),
        "is neither a folder nor a tar",
    ),
    "an empty folder": (lambda r: [shutil.rmtree(p) for p in r.iterdir()], "holds 0 images"),
    "an image missing": (gone(CAT), "train/cat holds 1 images"),
    "a class missing": (gone("test/dog"), "test/dog holds 0 images"),
    "a split missing": (gone("test"), "test/airplane holds 0 images"),
    "an image too many": (
        lambda r: picture(r / "test/cat/9.png"),
        "test/cat holds 2 images, the data set has exactly 1",
    ),
    "an unknown class": (
        lambda r: (r / "train/cat").rename(r / "train/wolf"),
        "has the unknown class 'wolf'",
    ),
    "an unknown split": (lambda r: picture(r / "valid/cat/0.png"), "is out of place"),
    "a folder too deep": (lambda r: picture(r / "train/cat/more/0.png"), "is out of place"),
    "a foreign file": (text("train/cat/labels.csv"), "labels.csv is out of place"),
    "an empty image": (text(CAT, b""), DECODED),
    "a text for an image": (text(CAT), DECODED),
    "an image cut short": (cut(CAT), DECODED),
    "a flipped bit": (flip(CAT), DECODED),
    "another format": (lambda r: picture(r / CAT, form="GIF"), DECODED),
    "another size": (lambda r: picture(r / CAT, (16, 32, 3)), f"{CAT} is 32x16 RGB"),
    "gray": (lambda r: picture(r / CAT, (32, 32)), f"{CAT} is 32x32 L"),
    "transparent": (lambda r: picture(r / CAT, (32, 32, 4)), f"{CAT} is 32x32 RGBA"),
    "a dangling link": (
        lambda r: ((r / CAT).unlink(), (r / CAT).symlink_to("nowhere")),
        "cannot be read to its end",
    ),
    "a tar cut short": (packed(lambda t: cut(t.name)(t.parent)), "cannot be read to its end"),
    "a tar that is none": (packed(lambda t: t.write_bytes(b"x" * 999)), "cannot be read to its en"),
    "a name twice in a tar": (packed(lambda t: None, ".tar", twice=True), "second file of that"),
}
CLIPS: dict[str, tuple[Spoil, str]] = {
    "a word missing": (gone("yes"), "yes holds no clips"),
    "an unknown word": (lambda r: write(r / "maybe/1_nohash_0.wav", tone()), "is out of place"),
    "a clip of nobody": (
        lambda r: (r / WORD).rename(r / "yes/somebody.flac"),
        "does not name its speaker",
    ),
    "an empty clip": (text(WORD, b""), "(it is empty)"),
    "a text for a clip": (text(WORD), f"{WORD} cannot be"),
    "a clip cut short": (cut(WORD, 0.5), f"{WORD} cannot be"),
    "a clip without a sample": (
        lambda r: soundfile.write(r / WORD, np.zeros(0, np.int16), 16_000),
        f"{WORD} ",
    ),
    "no numbers for samples": (
        lambda r: (
            (r / WORD).unlink(),
            soundfile.write(
                (r / WORD).with_suffix(".wav"), np.full(200, np.nan), 16_000, subtype="FLOAT"
            ),
        ),
        ".wav ",
    ),
    "too few speakers": (
        lambda r: [p.unlink() for p in r.rglob("*.flac") if "00000001" not in p.name],
        "",
    ),
}
CASES = [
    (kind, *case)
    for kind, cases in (("images", IMAGES), ("clips", CLIPS))
    for case in cases.items()
]


def test_there_are_thirty_kinds() -> None:
    assert len(CASES) >= 30


@pytest.mark.parametrize(("kind", "name", "case"), CASES, ids=[name for _, name, _ in CASES])
def test_broken_data_is_one_line(
    kind: str,
    name: str,
    case: tuple[Spoil, str],
    request: pytest.FixtureRequest,
    configs: dict[str, Config],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil, message = case
    monkeypatch.setattr(cifar10, "PER_CLASS", {"train": 2, "test": 1})
    monkeypatch.chdir(tmp_path)
    shutil.copytree(request.getfixturevalue(kind), "data")
    spoil(tmp_path / "data")
    root = next((p for p in os.listdir() if p.startswith("data")), "data")
    config = configs[kind]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as ended, run._ended_in_one_line():
        run.run(replace(config, dataset=replace(config.dataset, root=root)), "test")
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert re.fullmatch(r"error: [^\n]+\n", printed.err) and message in printed.err, printed.err
    assert printed.out == ""
    assert sorted(tmp_path.rglob("*")) == before, "something was written"
