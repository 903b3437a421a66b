"""Speech Commands from made-up trees: classes, speakers, silence, the cache, and every error."""

import re
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.clip_tree import tone, twelve_folders, whole, write

from defensive_tensorization.data import Split, Task, decode, speech_commands
from defensive_tensorization.data.audio import stored
from defensive_tensorization.data.clips import RATE
from defensive_tensorization.data.speech_commands import CLASSES, SILENCE, UNKNOWN, cuts
from defensive_tensorization.errors import UsageError


def load(root: Path, source: str = "folder", **options: Any) -> Task:
    return speech_commands.load(name="speech_commands", unit=1, source=source, root=root, **options)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = twelve_folders(tmp_path_factory.mktemp("twelve") / "tree")
    (root / "LICENSE").write_text("CC BY 4.0")
    return root


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole(tmp_path_factory.mktemp("whole") / "SpeechCommands" / "speech_commands_v0.02")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech_commands, "WHOLE", 20 * 12)


def splits(task: Task) -> dict[str, Split]:
    assert task.validation is not None
    return {"train": task.train, "validation": task.validation, "test": task.test}


def wave(task: Task, split: str, i: int) -> bytes:
    return bytes(splits(task)[split].inputs[i, 0].numpy().tobytes())


def test_twelve_folders(folders: Path) -> None:
    task = load(folders)
    assert task.classes == CLASSES and task.bounds == (-1.0, 1.0) and task.kind == "clips"
    assert task.title == ("Speech Commands, 240 clips in class folders, split 80/10/10 by speaker")
    sizes = {split: len(each) for split, each in splits(task).items()}
    assert sum(sizes.values()) == 240
    assert abs(sizes["train"] - 192) <= 12 >= abs(sizes["test"] - 24)
    for each in splits(task).values():
        assert each.inputs.dtype == torch.int16 and each.inputs.shape[1:] == (1, RATE)
        assert decode(each.inputs).abs().max() <= 1
    found = torch.cat([each.labels for each in splits(task).values()])
    assert torch.bincount(found).tolist() == [20] * 12


def test_labels_are_the_folders_and_speakers_do_not_mix(folders: Path) -> None:
    """Each clip's samples lead back to its file."""
    task = load(folders)
    side: dict[str, set[str]] = {}
    for split, each in splits(task).items():
        for i, label in enumerate(each.labels.tolist()):
            side.setdefault(wave(task, split, i), set()).add(f"{split} {CLASSES[label]}")
    speakers: dict[str, set[str]] = {}
    for path in folders.glob("*/*.flac"):
        seed = next(
            100 * i + j
            for i in range(20)
            for j, folder in enumerate(speech_commands.FOLDERS)
            if folder == path.parent.name
            and (f"{i * 7919 + 1:08x}" in path.stem or path.stem == f"{i + 1000}")
        )
        (where,) = side[stored(tone(seed=seed).astype(np.float32) / 32768, RATE).tobytes()]
        split, class_name = where.split()
        assert class_name == path.parent.name.strip("_")
        if "nohash" in path.stem:
            speakers.setdefault(path.stem.split("_nohash")[0][-8:], set()).add(split)
    assert len(speakers) == 20 and all(len(each) == 1 for each in speakers.values())


def test_a_tar_in_a_folder_of_its_own_and_wav_give_the_same(folders: Path, tmp_path: Path) -> None:
    wav = twelve_folders(tmp_path / "wav", suffix="wav")
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        archive.add(folders, "./speech")
    digests = {load(root).digest for root in (folders, wav, tmp_path / "t.tar")}
    assert len(digests) == 1


def test_the_test_set_is_recognised(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = sorted(f"{path.parent.name}/{path.stem}" for path in folders.glob("*/*.flac"))
    inventory = sha256("\n".join(names).encode()).hexdigest()[:16]
    monkeypatch.setattr(speech_commands, "TEST_SET", inventory)
    assert load(folders).title == (
        "Speech Commands v0.02, 4,890-clip test set, split 80/10/10 by speaker"
    )


def test_packed_once(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(folders, cache=tmp_path)
    monkeypatch.setattr(speech_commands, "gathered", None)  # a second packing would call it
    again = load(folders, cache=tmp_path)
    assert again.digest == first.digest and again.title == first.title
    assert all(
        torch.equal(a.inputs, b.inputs)
        for a, b in zip(splits(first).values(), splits(again).values(), strict=True)
    )


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("split", ["speaker", "official"])
def test_the_whole_is_balanced(everything: Path, split: str) -> None:
    task = load(everything, "torchaudio", split=split)
    for each in splits(task).values():
        counts = torch.bincount(each.labels, minlength=12)
        assert set(counts.tolist()) == {len(each) // 12}  # here every speaker says every word
    how = "official split" if split == "official" else "split 80/10/10 by speaker"
    assert task.title == f"Speech Commands v0.02, 240 clips, {how}"


@pytest.mark.usefixtures("few")
def test_the_official_split_is_that_of_the_lists(everything: Path) -> None:
    task = load(everything, "torchaudio", split="official")
    assert [len(each) // 12 for each in splits(task).values()] == [14, 3, 3]
    listed = [
        (everything / file).read_text().split()
        for file in ("validation_list.txt", "testing_list.txt")
    ]
    for split, names in zip(("validation", "test"), listed, strict=True):
        mine = {wave(task, split, i) for i in range(len(splits(task)[split]))}
        for name in (name for name in names if name.split("/")[0] in CLASSES):
            seed = next(i for i in range(20) if f"{i * 7919 + 1:08x}" in name) * 100
            seed += (*CLASSES[:10], "bed", "cat").index(name.split("/")[0])
            assert stored(tone(seed=seed).astype(np.float32) / 32768, RATE).tobytes() in mine


@pytest.mark.usefixtures("few")
def test_the_folder_above_is_the_same_data(everything: Path) -> None:
    above = everything.parents[1]
    assert load(above, "torchaudio").digest == load(everything, "torchaudio").digest


@pytest.mark.parametrize(
    ("split", "low", "high"), [("train", 0, 0.8), ("validation", 0.8, 0.9), ("test", 0.9, 1)]
)
def test_silence_is_of_its_own_part_of_a_recording_at_a_random_volume(
    split: str, low: float, high: float
) -> None:
    """On a ramp, a cut's shape says where it is from, its slope how loud it was made."""
    n = 50 * RATE
    ramp = np.linspace(0.1, 1, n, dtype=np.float32)
    made = cuts([ramp], split, 60).astype(np.float64)
    slope = np.diff(made[:, ::100], axis=1).mean(1) / 100 / 32768
    volume = slope / (0.9 / (n - 1))
    start = (made[:, 0] / 32768 / volume - 0.1) / 0.9
    loud = volume > 0.2  # the quiet ones are too coarse to be placed
    assert low - 0.02 <= start[loud].min() and start[loud].max() <= high - 1 / 50 + 0.02
    assert 0 < volume.min() < 0.1 and 0.9 < volume.max() < 1.01
    assert np.ptp(start[loud]) > 0.5 * (high - low - 1 / 50)
    np.testing.assert_array_equal(made, cuts([ramp], split, 60))


def spoil_name(root: Path) -> None:
    (root / "yes" / "00000001_nohash_0.flac").rename(root / "yes" / "somebody.flac")


def stray(root: Path) -> None:
    write(root / "yes" / "deep" / "1_nohash_0.flac", tone())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_name, "yes/somebody.flac does not name its speaker, without which the splits"),
        (stray, "yes/deep/1_nohash_0.flac is out of place, every file must be {yes,no,...,"),
        (lambda r: write(r / "maybe" / "1_nohash_0.wav", tone()), "maybe/1_nohash_0.wav is out"),
        (lambda r: write(r / "1_nohash_0.wav", tone()), "1_nohash_0.wav is out of place"),
        (lambda r: (r / "go" / "x.txt").touch(), "go/x.txt is out of place"),
        (lambda r: (r / "_silence_").rename(r / ".hidden"), "_silence_ holds no clips: name a f"),
        (lambda r: (r / "no" / "00000001_nohash_0.flac").write_bytes(b""), "(it is empty): put"),
    ],
)
def test_what_is_wrong_in_a_tree_is_named(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    root = twelve_folders(tmp_path, speakers=12)
    spoil(root)
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        load(root)
    assert str(caught.value).startswith(str(root)) and "\n" not in str(caught.value)


def test_data_of_another_form_are_refused(folders: Path, everything: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="dataset.split=official needs the lists of the whole"):
        load(folders, split="official")
    with pytest.raises(UsageError, match=r"does not exist: name a folder with {yes,no,.*flac}"):
        load(tmp_path / "absent")
    with pytest.raises(UsageError, match=r"Speech Commands is not at .*dataset.download=true"):
        load(tmp_path, "torchaudio")
    with pytest.raises(UsageError, match="holds 240 clips and 2 background recordings, the data "):
        load(everything, "torchaudio")
    with pytest.raises(UsageError, match="too few speakers, none is left for validation: add"):
        load(twelve_folders(tmp_path / "one", speakers=1))


@pytest.mark.usefixtures("few")
def test_a_missing_list_is_named(tmp_path: Path) -> None:
    root = whole(tmp_path)
    (root / "testing_list.txt").unlink()
    with pytest.raises(UsageError, match="has no testing_list.txt: restore it, or dataset.split"):
        load(root, "torchaudio", split="official")


def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("The hash of the downloaded file does not match.\nDelete the file.")

    monkeypatch.setattr("torchaudio.datasets.speechcommands.download_url_to_file", fail)
    with pytest.raises(UsageError, match=r"\(The hash of the downloaded file does not match\): "):
        load(tmp_path, "torchaudio", download=True)


def test_unknown_and_silence_are_the_last_classes() -> None:
    assert (CLASSES[UNKNOWN], CLASSES[SILENCE]) == ("unknown", "silence") and len(CLASSES) == 12
