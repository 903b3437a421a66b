"""What handing over the clips costs: seconds an epoch of training with and without the loader.

    make bench-loader                    # SoundNet5, 3,932 clips: what the 4,890 leave to train on
    make bench-loader ARGS="--clips 1024 --rounds 2"

With: every batch is drawn, gathered and decoded from int16 as in training. Without: one decoded
batch, again and again. The two take turns, and the fastest epoch of each counts.
"""

import argparse
import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from defensive_tensorization.data import Split
from defensive_tensorization.models import SoundNet5
from defensive_tensorization.system import provenance
from defensive_tensorization.training.batches import batches
from defensive_tensorization.training.loop import autocast
from defensive_tensorization.training.schedule import Schedule


def epoch(network: SoundNet5, given: Iterator[tuple[Tensor, Tensor]], dtype: str) -> float:
    """Seconds of one epoch of steps, the optimizer's own included."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    started = time.perf_counter()
    for x, y in given:
        with autocast(x.device, dtype):
            loss = F.cross_entropy(network(x).float(), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=3932)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--autocast", default="bfloat16", choices=("bfloat16", "float32"))
    given = parser.parse_args()
    made = torch.Generator().manual_seed(0)
    clips = torch.randint(-9000, 9000, (given.clips, 1, 16_000), generator=made, dtype=torch.int16)
    split = Split(clips, torch.randint(12, (given.clips,), generator=made))
    schedule = Schedule(1, 128, (0.5, 0.7), 0.1)
    network = SoundNet5(width=16, classes=12, mean=(0.0,), std=(0.1,))
    held = next(batches(split, False, schedule, made))
    steps = len(split) // schedule.batch_size
    seconds: dict[str, list[float]] = {"with the loader": [], "without": []}
    for _ in range(given.rounds + 1):  # the first warms up
        seconds["with the loader"].append(
            epoch(network, batches(split, False, schedule, made), given.autocast)
        )
        seconds["without"].append(epoch(network, (held for _ in range(steps)), given.autocast))
    best = {name: min(each[1:]) for name, each in seconds.items()}
    print(
        f"{provenance.hardware(clips.device)}, {torch.get_num_threads()} threads, {given.autocast}"
    )
    print(f"SoundNet5, {given.clips:,} clips, {steps} steps an epoch, fastest of {given.rounds}")
    for name, value in best.items():
        print(f"{name:16s} {value:6.2f} s")
    print(f"ratio            {best['with the loader'] / best['without']:6.3f}")


if __name__ == "__main__":
    main()
