"""The packed file: reuse, damage, identity, and two processes that want it at once."""

import logging
import shutil
import threading
import time
from pathlib import Path

import pytest
import torch

from defensive_tensorization.data.cache import Content, cached, digest
from defensive_tensorization.data.task import Split
from defensive_tensorization.errors import UsageError


def content(seed: int = 0, origin: str = "JPEG q75", validation: bool = False) -> Content:
    generator = torch.Generator().manual_seed(seed)

    def split(n: int) -> Split:
        pixels = torch.randint(256, (n, 3, 4, 4), generator=generator, dtype=torch.uint8)
        return Split(pixels, torch.randint(2, (n,), generator=generator))

    return Content(split(5), split(3), ("cat", "dog"), origin, split(2) if validation else None)


class Builder:
    """Builds a content and counts how often."""

    def __init__(self, built: Content) -> None:
        self.built, self.calls = built, 0

    def __call__(self) -> Content:
        self.calls += 1
        return self.built


def load(build: Builder, folder: Path | None, source: str = "tar 1") -> tuple[Content, str]:
    return cached(build, folder=folder, name="pets", source=source)


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("*.pt")
    return path


def same(a: Content, b: Content) -> bool:
    tensors = [[t for s in c.splits().values() for t in (s.inputs, s.labels)] for c in (a, b)]
    return (a.classes, a.origin, a.splits().keys()) == (
        b.classes,
        b.origin,
        b.splits().keys(),
    ) and (all(map(torch.equal, *tensors)))


@pytest.mark.parametrize("validation", [True, False])
def test_second_load_reads_what_the_first_packed(tmp_path: Path, validation: bool) -> None:
    build = Builder(content(validation=validation))
    folder = tmp_path / "runs" / "cache"
    first, first_digest = load(build, folder)
    second, second_digest = load(build, folder)
    assert build.calls == 1
    assert same(first, build.built) and same(second, build.built)
    assert first_digest == second_digest == digest(build.built)
    assert not list(folder.glob("*.tmp"))


def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    build = Builder(content())
    assert load(build, None)[1] == load(build, None)[1] == digest(build.built)
    assert build.calls == 2 and not list(tmp_path.iterdir())


def test_another_source_is_another_file(tmp_path: Path) -> None:
    old, new = Builder(content(0)), Builder(content(1))
    load(old, tmp_path, "tar 1")
    found, found_digest = load(new, tmp_path, "tar 2")
    assert same(found, new.built) and found_digest != digest(old.built)
    load(old, tmp_path, "tar 1")
    assert (old.calls, new.calls) == (1, 1)


def test_another_format_is_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = Builder(content())
    load(build, tmp_path)
    monkeypatch.setattr("defensive_tensorization.data.cache.FORMAT", 999)
    load(build, tmp_path)
    assert build.calls == 2


def test_every_damaged_byte_is_found_or_harmless(tmp_path: Path) -> None:
    build = Builder(content())
    load(build, tmp_path)
    path = only_file(tmp_path)
    intact = path.read_bytes()
    rebuilt = 0
    for position in range(0, len(intact), 23):
        damaged = bytearray(intact)
        damaged[position] ^= 0x40
        path.write_bytes(damaged)
        build.calls = 0
        found, found_digest = load(build, tmp_path)
        assert same(found, build.built) and found_digest == digest(build.built), position
        rebuilt += build.calls
    assert rebuilt > 10


def test_flipped_pixel_is_reported_in_one_line_and_repaired(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build = Builder(content())
    load(build, tmp_path)
    path = only_file(tmp_path)
    data = path.read_bytes()
    pixels = build.built.train.inputs.numpy().tobytes()
    at = data.index(pixels)
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with caplog.at_level(logging.WARNING):
        found, _ = load(build, tmp_path)
        load(build, tmp_path)
    assert same(found, build.built) and build.calls == 2
    (record,) = caplog.records
    message = record.getMessage()
    assert str(path) in message and "packing it again" in message and "\n" not in message
    assert "the content does not match its digest" in message


@pytest.mark.parametrize("keep", [0, 1, 1000])
def test_cut_file_is_packed_again(tmp_path: Path, keep: int) -> None:
    build = Builder(content())
    load(build, tmp_path)
    path = only_file(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    assert same(load(build, tmp_path)[0], build.built) and build.calls == 2


def test_foreign_file_is_never_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = Builder(content(0)), Builder(content(1))
    load(theirs, tmp_path / "theirs", "tar 2")
    load(ours, tmp_path / "ours", "tar 1")
    shutil.copy(only_file(tmp_path / "theirs"), only_file(tmp_path / "ours"))
    assert same(load(ours, tmp_path / "ours", "tar 1")[0], ours.built) and ours.calls == 2
    assert "packed from another source" in caplog.text


def test_changed_header_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build = Builder(content(origin="JPEG q75"))
    load(build, tmp_path)
    path = only_file(tmp_path)
    stored = torch.load(path, weights_only=True)
    torch.save(stored | {"header": stored["header"].replace("q75", "q99")}, path)
    assert load(build, tmp_path)[0].origin == "JPEG q75" and build.calls == 2
    assert "does not match its seal" in caplog.text


def test_two_at_once_pack_once(tmp_path: Path) -> None:
    calls = []

    def build() -> Content:
        calls.append(1)
        time.sleep(0.2)
        return content()

    found: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(cached(build, folder=tmp_path, name="p", source="s")[1])
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1 and found == [digest(content())] * 3


def test_failed_build_leaves_nothing_behind_and_frees_the_lock(tmp_path: Path) -> None:
    def fail() -> Content:
        raise UsageError("no data")

    with pytest.raises(UsageError, match="no data"):
        cached(fail, folder=tmp_path, name="pets", source="tar 1")
    assert not list(tmp_path.glob("*.pt")) and not list(tmp_path.glob("*.tmp"))
    assert same(load(Builder(content()), tmp_path)[0], content())


def test_processes_without_data_all_give_the_true_reason(tmp_path: Path) -> None:
    """Each removes the folder that it made, under the feet of those that wait for its lock."""
    told: list[str] = []

    def fail() -> Content:
        time.sleep(0.001)
        raise UsageError("no data")

    def job() -> None:
        for _ in range(10):
            try:
                cached(fail, folder=tmp_path / "runs" / "cache", name="pets", source="tar 1")
            except UsageError as error:
                told.append(str(error))

    threads = [threading.Thread(target=job) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == ["no data"] * 40


def test_unwritable_folder(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(UsageError, match=r"dataset.cache=.*file.* cannot be written .*cache=null"):
        load(Builder(content()), blocked / "cache")


@pytest.mark.parametrize("what", ["pixel", "label", "class", "swap", "shape"])
def test_digest_sees_every_part_of_the_content(what: str) -> None:
    a, b = content(), content()
    assert digest(a) == digest(b) and len(digest(a)) == 16
    if what == "pixel":
        b.test.inputs[2, 1, 0, 3] ^= 1
    elif what == "label":
        b.train.labels[4] ^= 1
    elif what == "class":
        b = Content(a.train, a.test, ("cat", "fox"))
    elif what == "swap":
        b = Content(a.test, a.train, a.classes)
    else:
        flat = Split(a.train.inputs.reshape(5, 3, 2, 8), a.train.labels)
        b = Content(flat, a.test, a.classes)
    assert digest(a) != digest(b)


def test_digest_is_of_the_content_alone() -> None:
    assert digest(content(origin="JPEG q75")) == digest(content(origin="PNG folder"))
