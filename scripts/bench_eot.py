"""K draws as one batch, beside K single passes; and what recalibrated BatchNorm adds to a step.

    make bench                            # all parts; this one: results/bench/eot.md
    python scripts/bench_eot.py --quick   # in small, nothing written

ResNet-18 at theta 0.9, fixed weights, K = 10: the gradient of an averaging attack. "Chosen" is what
an attack does by itself: at batch 16 all draws are one pass; 20 is the largest batch on a CPU. By
BatchNorm's running averages, and recalibrated on 128 images, which pass once a draw in both ways.
Then an attack step at batch 128: recalibrated, beside running averages.
"""

from collections.abc import Callable

import torch
from bench import Ratio, interleaved, options, over, report
from torch import Tensor, nn

from defensive_tensorization.attacks.batching import most_together
from defensive_tensorization.attacks.expectation import Expectation, cross_entropy
from defensive_tensorization.experiment.components import channels_last
from defensive_tensorization.models import ResNet18
from defensive_tensorization.models.batchnorm import DrawBatchNorm2d, Handling, Recalibrated
from defensive_tensorization.tucker import conv_factory

DRAWS = 10
HANDLINGS: tuple[Handling, ...] = ("running", "recalibrated")
AIMS = {  # by batch; larger ones run in a loop on a CPU
    "running": {4: 1.0, 16: 0.8, 20: 1.0},
    "recalibrated": {4: 1.0, 16: 1.0, 20: 1.0},
}
OURS = (16, 16, "bfloat16")  # width, batch and type of the attacks of our tables
STEP = 128  # images of an attack step
REFERENCE = 128  # images that recalibrate


def network(width: int, handling: Handling, device: torch.device) -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = ResNet18(
        width=width,
        classes=10,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        conv=conv_factory(theta=0.9, min_dim=3, init="random"),
        norm=lambda channels: DrawBatchNorm2d(channels, handling),
    )
    made = channels_last(made).eval().requires_grad_(False).to(device)
    return Recalibrated(made, images(REFERENCE, device)) if handling == "recalibrated" else made


def images(count: int, device: torch.device) -> Tensor:
    x = torch.rand(count, 3, 32, 32, device=device)
    return x.contiguous(memory_format=torch.channels_last)


def gradient(
    model: nn.Module, x: Tensor, draws: int, together: int, dtype: str
) -> Callable[[], object]:
    y = torch.arange(len(x), device=x.device) % 10
    asked = Expectation(model, x, cross_entropy, draws=draws, together=together, average="gradient")

    def step() -> object:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
            return asked(x, y)

    return step


def main() -> None:
    given = options(__doc__, budget=20.0)
    device, quick = given.device, given.quick
    budget, rounds = (0.0, {"warm": 1, "rounds": 2}) if quick else (given.budget, {})
    ratios: list[Ratio] = []
    steps: list[Ratio] = []
    for width in (16,) if quick else (16, 64):
        models = {handling: network(width, handling, device).eval() for handling in HANDLINGS}
        for dtype in ("float32", "bfloat16"):
            for handling, model in models.items():
                for batch, aim in [*AIMS[handling].items()][: 1 if quick else None]:
                    x = images(batch, device)
                    long = handling == "recalibrated" and width == 64  # half a minute a round
                    ways = {"single": 1, "chosen": most_together(model, batch, device)}
                    taken = interleaved(
                        {k: gradient(model, x, DRAWS, n, dtype) for k, n in ways.items()},
                        device,
                        budget,
                        **({"warm": 1, "rounds": 3} if long else rounds),
                    )
                    ours = handling == "recalibrated" and (width, batch, dtype) == OURS
                    by = "" if handling == "running" else f"{handling}, "
                    kind = f"{by}width {width}, batch {batch}, {dtype}: "
                    aim = 0.85 if ours else aim
                    ratios.append(over(taken, "chosen", "single", aim, kind))
            x = images(STEP, device)
            one = {handling: gradient(models[handling], x, 1, 1, dtype) for handling in HANDLINGS}
            taken = interleaved(one, device, budget, **rounds)
            kind = f"an attack step, width {width}, batch {STEP}, {dtype}: "
            steps.append(over(taken, "recalibrated", "running", 1.25, kind))
    title = "Ten draws together, beside ten passes"
    report("eot", given, title, [*ratios, *steps], *counts(OURS[1]))


def counts(batch: int) -> list[str]:
    """What operations alone make due, if the gradient of the input costs one more forward."""
    reference = REFERENCE / (REFERENCE + 2 * batch)
    step = (REFERENCE + 2 * STEP) / (2 * STEP)
    return [
        "By operation count, the gradient of the input taken for one more forward: of a draw at "
        f"batch {batch}, the reference is {100 * reference:.0f}%, which batching leaves as it is; "
        f"an attack step at batch {STEP} costs {step:.2f} of one by running averages."
    ]


if __name__ == "__main__":
    main()
