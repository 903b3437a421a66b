"""Made-up trees of short sounds in the two forms of Speech Commands, for tests of their readers."""

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from defensive_tensorization.data.speech_commands import FOLDERS, WORDS


def tone(n: int = 200, seed: int = 0) -> NDArray[np.int16]:
    """Few samples: the readers pad them to a second."""
    return np.random.default_rng(seed).integers(-9000, 9000, n, dtype=np.int16)


def write(path: Path, samples: NDArray[np.int16], rate: int = 16_000, **options: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=options.get("subtype", "PCM_16"))


def twelve_folders(root: Path, speakers: int = 20, suffix: str = "flac") -> Path:
    """Every speaker says every word once, and something else; as many silences."""
    for i in range(speakers):
        speaker = f"{i * 7919 + 1:08x}"
        for j, folder in enumerate(FOLDERS):
            name = {
                "_silence_": f"{i + 1000}",
                "_unknown_": f"bed_{speaker}_nohash_0",
            }.get(folder, f"{speaker}_nohash_0")
            write(root / folder / f"{name}.{suffix}", tone(seed=100 * i + j))
    return root


def whole(root: Path, speakers: int = 20) -> Path:
    """The words, two others, two background recordings and the official lists."""
    for i in range(speakers):
        for j, word in enumerate((*WORDS, "bed", "cat")):
            write(root / word / f"{i * 7919 + 1:08x}_nohash_0.wav", tone(seed=100 * i + j))
    for i, seconds in enumerate((30, 40)):
        write(root / "_background_noise_" / f"noise{i}.wav", tone(16_000 * seconds, seed=i))
    (root / "_background_noise_" / "README.md").write_text("about")
    names = sorted(path.relative_to(root).as_posix() for path in root.glob("[a-z]*/*.wav"))
    speaker = {name: name.split("/")[1][:8] for name in names}
    ranked = sorted(set(speaker.values()))
    for file, of in (("validation_list.txt", ranked[:3]), ("testing_list.txt", ranked[3:6])):
        (root / file).write_text("".join(f"{n}\n" for n in names if speaker[n] in of))
    return root
