"""The split by speaker, and the choice of clips: properties, whatever the speakers."""

import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from helpers.clip_tree import tone, write
from hypothesis import given, settings
from hypothesis import strategies as st

from defensive_tensorization.data.clips import RATE, Clip, by_speaker, chosen, gathered
from defensive_tensorization.data.source import Source

counts = st.lists(st.integers(1, 40), min_size=1, max_size=60)


def spoken(clips_of: list[int]) -> list[Clip]:
    return [
        Clip(f"{speaker}/{i}.wav", i % 12, f"{speaker:08x}")
        for speaker, count in enumerate(clips_of)
        for i in range(count)
    ]


@given(counts)
@settings(max_examples=60)
def test_every_clip_is_on_one_side_and_its_speaker_with_it(clips_of: list[int]) -> None:
    clips = spoken(clips_of)
    splits = by_speaker(clips)
    assert Counter(c for split in splits.values() for c in split) == Counter(clips)
    sides = [{c.speaker for c in split} for split in splits.values()]
    assert sum(map(len, sides)) == len(set.union(*sides))


@given(counts)
@settings(max_examples=60)
def test_shares_are_met_to_within_a_speaker(clips_of: list[int]) -> None:
    splits = by_speaker(spoken(clips_of))
    for split, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
        assert abs(len(splits[split]) - share * sum(clips_of)) <= max(clips_of)


@given(counts, st.randoms())
@settings(max_examples=20)
def test_the_order_of_the_clips_does_not_matter(clips_of: list[int], shuffle: object) -> None:
    clips = spoken(clips_of)
    mixed = clips.copy()
    shuffle.shuffle(mixed)  # type: ignore[attr-defined]
    once, again = by_speaker(clips), by_speaker(mixed)
    assert {k: set(v) for k, v in once.items()} == {k: set(v) for k, v in again.items()}
    assert chosen(clips, 7) == chosen(mixed, 7)


def test_chosen_is_a_fair_sample() -> None:
    """As many of every label as their share, to within five standard deviations."""
    clips = [Clip(f"{label}/{i}_{label}.wav", label, "a") for label in range(4) for i in range(500)]
    taken = Counter(clip.label for clip in chosen(clips, 400))
    assert sum(taken.values()) == 400
    assert all(abs(count - 100) < 5 * np.sqrt(400 * 0.25 * 0.75) for count in taken.values())


def test_gathered_is_in_the_order_of_labels_and_names(tmp_path: Path) -> None:
    clips = [Clip(f"{f}/{n}.wav", label, "a") for label, f in enumerate("ba") for n in "zy"]
    for i, clip in enumerate(clips):
        write(tmp_path / "tree" / clip.name, tone(RATE + i, seed=i))
    other = Clip("b/other.wav", 0, "b")
    write(tmp_path / "tree" / other.name, tone(seed=9))
    extra = np.arange(2 * RATE, dtype=np.int16).reshape(2, RATE)
    splits = {"train": clips, "test": [other], "validation": []}
    made = gathered(Source(tmp_path / "tree", ""), splits, {"train": (extra, 2)})
    assert [len(made[split]) for split in splits] == [6, 1, 0]
    assert made["train"].labels.tolist() == [0, 0, 1, 1, 2, 2]
    expected = [*(tone(RATE + i, seed=i)[:RATE] for i in (1, 0, 3, 2)), *extra]
    np.testing.assert_array_equal(made["train"].inputs[:, 0].numpy(), np.stack(expected))
    np.testing.assert_array_equal(made["test"].inputs[0, 0, :200].numpy(), tone(seed=9))
    assert not made["test"].inputs[0, 0, 200:].any()


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_tar_gives_the_tensors_of_its_tree(tmp_path: Path, suffix: str) -> None:
    clips = [Clip(f"{name}.flac", i, "a") for i, name in enumerate("cab")]
    for i, clip in enumerate(clips):
        write(tmp_path / "tree" / clip.name, tone(seed=i))
    with tarfile.open(tmp_path / f"t.{suffix}", "w:gz" if "gz" in suffix else "w") as archive:
        for clip in clips:
            archive.add(tmp_path / "tree" / clip.name, clip.name)
    tree, tar = (
        gathered(Source(tmp_path / each, ""), {"train": clips})["train"]
        for each in ("tree", f"t.{suffix}")
    )
    assert tree.inputs.equal(tar.inputs) and tree.labels.equal(tar.labels)
