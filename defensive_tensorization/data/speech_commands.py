"""Speech Commands v0.02 (Warden 2018): one-second clips of ten words, `unknown` and `silence`."""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from defensive_tensorization.data.audio import SOUNDS, Samples, read_sound, stored
from defensive_tensorization.data.cache import Content, cached
from defensive_tensorization.data.clips import (
    RATE,
    SPLITS,
    Clip,
    Splits,
    by_speaker,
    chosen,
    gathered,
)
from defensive_tensorization.data.source import Source, placed
from defensive_tensorization.data.task import Task
from defensive_tensorization.errors import UsageError

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
CLASSES = (*WORDS, "unknown", "silence")
UNKNOWN, SILENCE = len(WORDS), len(WORDS) + 1
FOLDERS = (*WORDS, "_unknown_", "_silence_")
BACKGROUND = "_background_noise_"
SPEAKER = re.compile(r"(?:^|_)([0-9a-f]+)_nohash_\d+")
FORM = "{yes,no,...,_unknown_,_silence_}/*.{wav,flac}"
MEAN, STD = 0.0, 0.088  # of the amplitudes of the 4,890-clip test set's training split
WHOLE = 105_829  # clips in the whole data set, the background recordings apart
TEST_SET = "d0232ff694ecbab0"  # _inventory of the canonical 4,890-clip test set


def load(
    *,
    name: str,
    unit: float,
    source: str,
    root: str | Path,
    split: str = "speaker",
    download: bool = False,
    cache: str | Path | None = None,
) -> Task:
    """The twelve classes as int16 [N, 1, 16000] at 16 kHz: training, validation and test.

    source "torchaudio" reads the whole data set at or below `root`, and downloads it there, by
    checksum, if asked. source "folder" reads a tree or a tar of the twelve class folders.
    split "speaker" is 80/10/10, no speaker on two sides; "official" is that of the data set's
    validation_list.txt and testing_list.txt, which the twelve folders do not have.
    """
    place = Path(root).expanduser()
    if (source, split) == ("folder", "official"):
        raise UsageError(
            "dataset.split=official needs the lists of the whole data set, which the twelve "
            "folders lack: take dataset.split=speaker, or dataset.source=torchaudio"
        )
    files = Source(place, FORM) if source == "folder" else _original(place, download)
    content, digest = cached(
        lambda: _folders(files) if source == "folder" else _whole(files, split),
        folder=cache,
        name=name,
        source=f"{source} {split} {files.identity()}",
    )
    return Task(
        name=name,
        title=content.origin,
        classes=content.classes,
        **content.splits(),
        bounds=(-1.0, 1.0),
        unit=unit,
        mean=(MEAN,),
        std=(STD,),
        flip=False,
        digest=digest,
    )


def _folders(files: Source) -> Content:
    """The tree or tar of the twelve class folders; its silence has no speakers, each is its own."""
    clips = []
    for name, part in placed(files.names(), FOLDERS).items():
        sound = part[-1].lower().endswith(SOUNDS)
        if len(part) == 1 and not sound:
            continue
        if len(part) != 2 or part[0] not in FOLDERS or not sound:
            raise UsageError(
                f"{files.root}: {name} is out of place, every file must be {FORM}: "
                "remove or rename it"
            )
        label = FOLDERS.index(part[0])
        clips.append(Clip(name, label, _speaker(files, name, label == SILENCE)))
    absent = set(range(len(CLASSES))) - {clip.label for clip in clips}
    if absent:
        raise UsageError(
            f"{files.root}: {FOLDERS[min(absent)]} holds no clips: name a folder with {FORM}"
        )
    inventory = sha256("\n".join(sorted(clip.key for clip in clips)).encode())
    known = inventory.hexdigest()[:16] == TEST_SET
    what = " v0.02, 4,890-clip test set" if known else f", {len(clips):,} clips in class folders"
    return _content(files, by_speaker(clips), f"Speech Commands{what}, split 80/10/10 by speaker")


def _whole(files: Source, split: str) -> Content:
    """The 35 word folders: `unknown` and `silence` get as many clips as a word has on average."""
    words, noises = [], []
    for name, part in placed(files.names(), ()).items():
        if len(part) == 2 and part[1].lower().endswith(SOUNDS):
            if part[0] == BACKGROUND:
                noises.append(name)
            else:
                label = WORDS.index(part[0]) if part[0] in WORDS else UNKNOWN
                words.append(Clip(name, label, _speaker(files, name)))
    if len(words) != WHOLE or not noises:
        raise UsageError(
            f"{files.root} holds {len(words):,} clips and {len(noises)} background recordings, "
            f"the data set has exactly {WHOLE:,} and some: copy or download it again, whole"
        )
    splits = by_speaker(words) if split == "speaker" else _official(files, words)
    recordings = [
        read_sound(data, f"{files.root}: {name}", RATE)
        for name, data in files.files(sorted(noises))
    ]
    silence = {}
    for side, clips in splits.items():
        count = round(sum(clip.label != UNKNOWN for clip in clips) / len(WORDS))
        others = chosen((clip for clip in clips if clip.label == UNKNOWN), count)
        splits[side] = [clip for clip in clips if clip.label != UNKNOWN] + others
        silence[side] = cuts(recordings, side, count)
    how = "split 80/10/10 by speaker" if split == "speaker" else "official split"
    total = sum(len(splits[side]) + len(silence[side]) for side in splits)
    return _content(files, splits, f"Speech Commands v0.02, {total:,} clips, {how}", silence)


def cuts(recordings: Iterable[Samples], split: str, count: int) -> NDArray[np.int16]:
    """Silence, [count, RATE]: seconds of the background recordings at random volumes in [0, 1].

    Each recording's first 80% serve train, the next 10% validation, the last 10% test, so that
    no sound is on two sides. The volumes are those of Warden 2018's evaluation.
    """
    share = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}[split]
    parts = [r[int(share[0] * len(r)) : int(share[1] * len(r))] for r in recordings]
    room = np.array([max(0, len(part) - RATE + 1) for part in parts])
    if not room.sum():
        raise UsageError(f"{BACKGROUND}: no recording is long enough for {split}: restore them")
    draw = np.random.default_rng(SPLITS.index(split))
    made = np.empty((count, RATE), np.int16)
    for clip in made:
        part = parts[draw.choice(len(parts), p=room / room.sum())]
        start = draw.integers(len(part) - RATE + 1)
        clip[:] = stored(part[start : start + RATE] * np.float32(draw.uniform()), RATE)
    return made


def _official(files: Source, clips: list[Clip]) -> Splits:
    """By the data set's own lists, which a hash of the speaker made."""
    listed: dict[str, set[str]] = {}
    for split, file in (("validation", "validation_list.txt"), ("test", "testing_list.txt")):
        found = dict(files.files([file])) if (files.root / file).is_file() else {}
        if not found:
            raise UsageError(f"{files.root} has no {file}: restore it, or dataset.split=speaker")
        listed[split] = set(found[file].decode().split())
    held = listed["validation"] | listed["test"]
    return {
        "train": [clip for clip in clips if clip.name not in held],
        **{split: [c for c in clips if c.name in names] for split, names in listed.items()},
    }


def _content(
    files: Source,
    splits: Mapping[str, list[Clip]],
    origin: str,
    silence: Mapping[str, NDArray[np.int16]] | None = None,
) -> Content:
    empty = [split for split in SPLITS if not splits[split]]
    if empty:
        raise UsageError(f"{files.root}: too few speakers, none is left for {empty[0]}: add clips")
    more = {split: (samples, SILENCE) for split, samples in (silence or {}).items()}
    made = gathered(files, splits, more)
    return Content(**made, classes=CLASSES, origin=origin)


def _speaker(files: Source, name: str, nobody: bool = False) -> str:
    """Whom the file's name states; where `nobody` speaks, the file is a speaker of its own."""
    stem = PurePosixPath(name).stem
    if nobody:
        return stem
    found = SPEAKER.search(stem)
    if found is None:
        raise UsageError(
            f"{files.root}: {name} does not name its speaker, without which the splits would mix "
            "speakers: call it <speaker>_nohash_<n>"
        )
    return found[1]


def _original(root: Path, download: bool) -> Source:
    """The whole data set: at `root`, or where torchaudio puts it below."""
    from torchaudio.datasets import SPEECHCOMMANDS

    if (root / BACKGROUND).is_dir():
        return Source(root, FORM)
    try:
        SPEECHCOMMANDS(str(root), download=download)
    except (OSError, RuntimeError, HTTPException) as error:
        raise UsageError(
            f"Speech Commands is not at {root} ({str(error).splitlines()[0].rstrip('.')}): set "
            "dataset.download=true, name its folder with dataset.root, or use dataset.source=folder"
        ) from error
    return Source(root / "SpeechCommands" / "speech_commands_v0.02", FORM)
