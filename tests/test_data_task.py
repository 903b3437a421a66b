"""Task, Split and decode."""

import numpy as np
import pytest
import torch

from defensive_tensorization.data import Split, Task, decode
from defensive_tensorization.system.transfer import onto


def test_decode_images_gives_all_256_values_exactly() -> None:
    pixels = np.arange(256, dtype=np.uint8)
    decoded = decode(torch.from_numpy(pixels))
    assert decoded.dtype == torch.float32
    np.testing.assert_array_equal(decoded.numpy(), pixels.astype(np.float32) / np.float32(255))
    assert decoded.min() == 0 and decoded.max() == 1


def test_decode_audio_reaches_minus_one_and_stays_below_one() -> None:
    samples = torch.tensor([-32768, -1, 0, 16384, 32767], dtype=torch.int16)
    expected = [-1.0, -1 / 32768, 0.0, 0.5, 32767 / 32768]
    assert decode(samples).tolist() == expected


def test_decode_refuses_other_types() -> None:
    with pytest.raises(TypeError, match="uint8 or int16, got torch.float32"):
        decode(torch.zeros(3))


@pytest.mark.parametrize("validation", [True, False])
def test_to_moves_every_split_and_keeps_the_rest(validation: bool) -> None:
    split = Split(torch.zeros(5, 3, 2, 2, dtype=torch.uint8), torch.arange(5))
    task = Task(
        name="tiny",
        title="tiny",
        classes=("a", "b"),
        train=split,
        test=split,
        bounds=(0.0, 1.0),
        unit=1 / 255,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        flip=True,
        digest="0" * 16,
        validation=split if validation else None,
    )
    moved = task.to("meta")
    splits = [moved.train, moved.test, *([moved.validation] if validation else [])]
    for moved_split in splits:
        assert moved_split is not None and len(moved_split) == 5
        assert moved_split.inputs.is_meta and moved_split.labels.is_meta
    assert (moved.validation is None) is not validation
    assert (moved.name, moved.classes, moved.flip) == ("tiny", ("a", "b"), True)
    assert not task.train.inputs.is_meta


class OfTheHost:
    """Writes down how it is copied."""

    def __init__(self) -> None:
        self.done: list[tuple[str, torch.device | None, bool]] = []

    def pin_memory(self) -> "OfTheHost":
        self.done.append(("pinned", None, False))
        return self

    def to(self, device: torch.device, non_blocking: bool = False) -> "OfTheHost":
        self.done.append(("to", device, non_blocking))
        return self


def test_nobody_waits_for_what_goes_to_a_gpu() -> None:
    gpu, made = torch.device("cuda"), OfTheHost()
    onto(made, gpu)  # type: ignore[arg-type]
    assert made.done == [("pinned", None, False), ("to", gpu, True)]
    there = torch.rand(3)
    assert onto(there, torch.device("cpu")) is there
