"""Clips of a spoken-word task: who says what, which split a speaker is in, and the tensors."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1
from pathlib import PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray

from defensive_tensorization.data.audio import read_sound, stored
from defensive_tensorization.data.source import Source
from defensive_tensorization.data.task import Split
from defensive_tensorization.system.progress import bar

RATE = 16_000  # Hz; a clip is one second
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Clip:
    """One file: its name in the source, the label it gets, and who speaks in it."""

    name: str
    label: int
    speaker: str

    @property
    def key(self) -> str:
        """<folder>/<name>, whatever the file is packed in and encoded as."""
        path = PurePosixPath(self.name)
        return f"{path.parent.name}/{path.stem}"


Splits = dict[str, list[Clip]]


def by_speaker(clips: Iterable[Clip]) -> Splits:
    """80% of the clips to train, 10% each to validation and test, no speaker in two of them.

    Speakers stand in the order of their names' hashes; one belongs where the middle of its clips
    falls. The shares are met to within one speaker's clips.
    """
    clips = list(clips)
    counts = Counter(clip.speaker for clip in clips)
    side: dict[str, str] = {}
    before = 0
    for speaker in sorted(counts, key=_hash):
        middle = (before + counts[speaker] / 2) / len(clips)
        side[speaker] = "test" if middle < 0.1 else "validation" if middle < 0.2 else "train"
        before += counts[speaker]
    return {split: [c for c in clips if side[c.speaker] == split] for split in SPLITS}


def chosen(clips: Iterable[Clip], count: int) -> list[Clip]:
    """`count` of the clips, those whose names' hashes come first: the same on every machine."""
    return sorted(clips, key=lambda clip: _hash(clip.key))[:count]


def gathered(
    source: Source,
    splits: Mapping[str, Sequence[Clip]],
    more: Mapping[str, tuple[NDArray[np.int16], int]] | None = None,
) -> dict[str, Split]:
    """Every clip decoded, int16 [N, 1, RATE], in the order of labels and names.

    `more` adds clips that are no files to a split: their samples [n, RATE] and their label, the
    largest of all.
    """
    places: dict[str, tuple[str, int]] = {}
    inputs: dict[str, NDArray[np.int16]] = {}
    labels: dict[str, list[int]] = {}
    for split, clips in splits.items():
        ordered = sorted(clips, key=lambda clip: (clip.label, clip.key))
        extra, label = (more or {}).get(split, (np.zeros((0, RATE), np.int16), 0))
        places |= {clip.name: (split, i) for i, clip in enumerate(ordered)}
        labels[split] = [*(clip.label for clip in ordered), *[label] * len(extra)]
        inputs[split] = np.empty((len(labels[split]), 1, RATE), np.int16)
        inputs[split][len(ordered) :, 0] = extra
    for name, data in bar(source.files(places), len(places), f"reading {source.root}", "files"):
        split, position = places[name]
        clip = read_sound(data, f"{source.root}: {name}", RATE)
        inputs[split][position, 0] = stored(clip, RATE)
    return {s: Split(torch.from_numpy(inputs[s]), torch.tensor(labels[s])) for s in splits}


def _hash(text: str) -> str:
    return sha1(text.encode()).hexdigest()
