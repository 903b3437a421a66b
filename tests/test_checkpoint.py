"""Checkpoints: whole or absent, never someone else's, and never a program."""

import copy
import errno
import logging
import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.full_disk import full_disk
from torch import Tensor, nn

from defensive_tensorization.training import checkpoint
from defensive_tensorization.training.loop import Progress

MINE = "f" * 16


def state() -> dict[str, Any]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last), nn.BatchNorm2d(3))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.rand(2, 2, 4, 4)).sum().backward()
    optimizer.step()
    progress = {
        "epoch": 2,
        "network": net.state_dict() | {"half": torch.ones(2, dtype=torch.bfloat16)},
        "optimizer": optimizer.state_dict(),
        "history": [{"epoch": 1.0, "loss": 2.25, "lr": 0.1}, {"epoch": 2.0, "loss": 1.5}],
    }
    config = {"theta": 0.9, "modes": None, "epsilon": [2, 8.0], "scale": {"name": "cpu"}}
    return {"fingerprint": MINE, "config": config, "progress": progress}


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and bool(a == b)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints" / "cifar10-theta0.9.pt"  # the folder does not exist yet


def files(path: Path) -> list[str]:
    return sorted(os.listdir(path.parent))


def refused(path: Path, caplog: pytest.LogCaptureFixture) -> bool:
    """Nothing came back, and one warning on one line names the file."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        if checkpoint.load(path, MINE) is not None:
            return False
    (warning,) = caplog.messages
    return str(path) in warning and "training again" in warning and "\n" not in warning


def test_what_is_saved_comes_back(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved = state()
    checkpoint.save(path, saved)
    read = checkpoint.load(path, MINE)
    assert read is not None and caplog.messages == []
    assert equal({k: read[k] for k in saved}, saved)
    strides = [s["progress"]["network"]["0.weight"].stride() for s in (read, saved)]
    assert strides[0] == strides[1]
    assert files(path) == [path.name]


def test_an_absent_checkpoint_is_nothing_and_no_warning(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert checkpoint.load(path, MINE) is None
    assert caplog.messages == []


def test_a_later_save_replaces_an_earlier_one(path: Path) -> None:
    later = state()
    later["progress"]["epoch"] = 3
    checkpoint.save(path, state())
    checkpoint.save(path, later)
    assert equal((checkpoint.load(path, MINE) or {})["progress"], later["progress"])
    assert files(path) == [path.name]


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("where", ["torch.save", "os.fsync", "os.replace"])
def test_a_failure_while_saving_leaves_the_old_file(
    path: Path, where: str, failure: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(path, state())
    before = path.read_bytes()

    def fail(*arguments: Any, **options: Any) -> None:
        if where == "torch.save":
            arguments[1].write(b"half a checkpoint")
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(where, fail)
        with pytest.raises(type(failure)):
            checkpoint.save(path, state() | {"more": 1})
    assert path.read_bytes() == before
    assert files(path) == [path.name], "a temporary file stayed behind"
    assert checkpoint.load(path, MINE) is not None


def test_a_value_that_is_no_plain_data_is_not_read_back(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint.save(path, state() | {"path": Path("x")})
    assert refused(path, caplog)


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.7, 0.99])
def test_a_truncated_checkpoint_is_refused(
    path: Path, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint.save(path, state())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert refused(path, caplog)


def outcomes(path: Path, caplog: pytest.LogCaptureFixture) -> dict[str, int]:
    """What loading does when one byte is flipped, by kind: how often."""
    saved = {"fingerprint": MINE, "progress": {"epoch": 1, "network": {"w": torch.rand(40)}}}
    checkpoint.save(path, saved)
    whole, kinds = path.read_bytes(), dict.fromkeys(("refused", "intact", "wrong", "raised"), 0)
    for at in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        try:
            read = checkpoint.load(path, MINE)
        except Exception:
            kinds["raised"] += 1
        else:
            same = read and equal({k: read.get(k) for k in saved}, saved)
            kinds["refused" if read is None else "intact" if same else "wrong"] += 1
    return kinds


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_flipped_byte_never_gives_other_values(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = outcomes(path, caplog)
    assert found["refused"] > 100
    assert found["wrong"] == found["raised"] == 0, found


def test_an_entry_that_claims_to_be_a_folder(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One bit of the archive's directory, which the checksums of its entries do not cover."""
    saved = {"fingerprint": MINE, "weights": torch.rand(1000)}
    checkpoint.save(path, saved)
    whole = path.read_bytes()
    for entry in re.finditer(b"PK\x01\x02", whole):
        damaged = bytearray(whole)
        damaged[entry.start() + 38] ^= 0x10  # external attributes: MS-DOS's directory flag
        path.write_bytes(damaged)
        read = checkpoint.load(path, MINE)
        assert read is None or equal({k: read[k] for k in saved}, saved)


def test_a_flipped_byte_in_the_middle_of_the_archive(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint.save(path, state())
    whole = path.read_bytes()
    directory = whole.rindex(b"PK\x01\x02")
    path.write_bytes(whole[:directory] + b"\x00" + whole[directory + 1 :])
    assert refused(path, caplog)


@pytest.mark.parametrize(
    "change", [{"fingerprint": "0" * 16}, {"fingerprint": None}, {"format": checkpoint.FORMAT + 1}]
)
def test_a_checkpoint_of_another_run_or_format_is_refused(
    path: Path, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint.save(path, state() | change)
    assert refused(path, caplog)
    assert "another run or format" in caplog.messages[0]


def test_a_checkpoint_without_a_fingerprint_is_refused(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = copy.deepcopy(state())
    del made["fingerprint"]
    checkpoint.save(path, made)
    assert refused(path, caplog)


def test_a_file_of_something_else_is_refused(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    torch.save([1, 2], path)
    assert refused(path, caplog)


class Hostile:
    """Unpickling it creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.marker), "w")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["archive", "legacy", "bare pickle"])
def test_a_program_in_the_file_is_not_run(
    path: Path, form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    marker = tmp_path / "owned"
    pickle.loads(pickle.dumps(Hostile(marker))).close()
    assert marker.exists(), "the payload is alive"
    marker.unlink()
    path.parent.mkdir()
    made = {"format": checkpoint.FORMAT, **state(), "extra": Hostile(marker)}
    if form == "bare pickle":
        path.write_bytes(pickle.dumps(made))
    else:
        torch.save(made, path, _use_new_zipfile_serialization=form == "archive")
    assert not marker.exists()
    assert refused(path, caplog)
    assert not marker.exists(), "loading ran code from the file"


# --- of another network, another version, on a disk that is full -------------------------------


def network(channels: int = 3) -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, channels, 3), nn.BatchNorm2d(channels))


def progress(**changes: Any) -> dict[str, Any]:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.rand(2, 2, 4, 4)).sum().backward()
    optimizer.step()
    return Progress(1, net.state_dict(), optimizer.state_dict(), [{"loss": 1.0}]).state() | changes


def wide(made: dict[str, Any]) -> dict[str, Any]:
    made["optimizer"]["state"][0]["momentum_buffer"] = torch.zeros(4, 2, 3, 3)
    return made


MISFITS: dict[str, tuple[Any, str]] = {
    "wrong shapes": (
        lambda: progress(network=network(4).state_dict()),
        "0.weight is [3, 2, 3, 3] here and [4, 2, 3, 3] there",
    ),
    "another layer": (
        lambda: progress(network=network().state_dict() | {"2.weight": torch.ones(1)}),
        "2.weight is on one side only",
    ),
    "a layer less": (lambda: progress(network={}), "0.bias is on one side only"),
    "momentum of another shape": (
        lambda: wide(progress()),
        "momentum_buffer of 0.weight is [3, 2, 3, 3] here and [4, 2, 3, 3] there",
    ),
    "a later version's field": (
        lambda: progress(later=1),
        "TypeError: Progress.__init__() got an unexpected keyword argument 'later'",
    ),
    "no progress": (lambda: None, "TypeError"),
    "an epoch in words": (lambda: progress(epoch="one"), "epoch is no int"),
    "numbers for weights": (
        lambda: progress(network=dict.fromkeys(network().state_dict(), 1)),
        "AttributeError",
    ),
    "half an epoch without generators": (
        lambda: progress(step=3),
        "an epoch under way without its generators",
    ),
}


def test_what_fits_is_read(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As older versions wrote it, and with an epoch under way."""
    streams = {"total": torch.zeros(()), "sketch": {}, "noise": torch.zeros(4), "torch": None}
    for made in (progress(), progress(step=3, streams=streams, pieces=2)):
        checkpoint.save(path, {"fingerprint": MINE, "progress": made})
        read = checkpoint.load(path, MINE, network())
        assert read is not None and equal(dict(read["progress"]), made)
    assert caplog.messages == []


@pytest.mark.parametrize("case", MISFITS)
def test_what_does_not_fit_is_trained_again(
    path: Path, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, reason = MISFITS[case]
    checkpoint.save(path, {"fingerprint": MINE, "progress": make()})
    assert checkpoint.load(path, MINE, network()) is None
    (warning,) = caplog.messages
    assert warning.startswith(f"{path} holds another version's network ({reason}")
    assert warning.endswith("): training again") and "\n" not in warning


@pytest.mark.parametrize("size", [0, 10, 1000, 5000])
def test_a_full_disk_leaves_the_old_file_and_names_the_new(path: Path, size: int) -> None:
    checkpoint.save(path, {"fingerprint": MINE, "weights": torch.ones(10)})
    before = path.read_bytes()
    with full_disk(size), pytest.raises(OSError) as caught:
        checkpoint.save(path, {"fingerprint": MINE, "weights": torch.ones(10_000)})
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert path.read_bytes() == before
    assert files(path) == [path.name]


def test_what_a_killed_process_left_beside_is_written_over(path: Path) -> None:
    path.parent.mkdir()
    path.with_name(f"{path.name}.part").write_bytes(b"half a checkpoint")
    assert checkpoint.load(path, MINE) is None
    checkpoint.save(path, state())
    assert files(path) == [path.name] and checkpoint.load(path, MINE) is not None


def test_a_file_that_may_not_be_read_is_not_trained_over(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(path, state())

    def forbid(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("zipfile.ZipFile", forbid)
    with pytest.raises(PermissionError):
        checkpoint.load(path, MINE)
