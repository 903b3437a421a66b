"""K draws as one batch, beside K single passes: the gradient of an averaging attack.

    make bench                            # all parts; this one: results/bench/eot.md
    python scripts/bench_eot.py --quick   # in small, nothing written

ResNet-18 at theta 0.9 with BatchNorm's running averages, fixed weights, K = 10. "Chosen" is what an
attack does by itself: at batch 16 all draws are one pass; 20 is the largest batch on a CPU. With
our default, recalibrated BatchNorm, draws always run one by one.
"""

from collections.abc import Callable

import torch
from bench import Ratio, interleaved, options, over, report
from torch import Tensor, nn

from defensive_tensorization.attacks.expectation import Expectation, cross_entropy, most_together
from defensive_tensorization.experiment.components import channels_last
from defensive_tensorization.models import ResNet18
from defensive_tensorization.tucker import conv_factory

DRAWS = 10
AIMS = {4: 1.0, 16: 0.8, 20: 1.0}  # by batch; larger ones run in a loop on a CPU


def network(width: int) -> nn.Module:
    torch.manual_seed(0)
    conv = conv_factory(theta=0.9, min_dim=3, init="random")
    made = ResNet18(width=width, classes=10, mean=(0.5,) * 3, std=(0.25,) * 3, conv=conv)
    return channels_last(made).eval().requires_grad_(False)


def gradient(
    model: nn.Module, x: Tensor, y: Tensor, together: int, dtype: str
) -> Callable[[], object]:
    asked = Expectation(model, x, cross_entropy, draws=DRAWS, together=together, average="gradient")

    def step() -> object:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
            return asked(x, y)

    return step


def main() -> None:
    given = options(__doc__, budget=20.0)
    device = given.device
    ratios: list[Ratio] = []
    for width in (16,) if given.quick else (16, 64):
        model = network(width).to(device)
        for batch, aim in AIMS.items():
            x = torch.rand(batch, 3, 32, 32, device=device)
            x, y = x.contiguous(memory_format=torch.channels_last), torch.arange(batch) % 10
            ways = {"single": 1, "chosen": most_together(model, batch, device)}
            for dtype in ("float32", "bfloat16"):
                steps = {k: gradient(model, x, y.to(device), n, dtype) for k, n in ways.items()}
                rounds = {"warm": 1, "rounds": 2} if given.quick else {}
                taken = interleaved(steps, device, 0.0 if given.quick else given.budget, **rounds)
                kind = f"width {width}, batch {batch}, {dtype}: "
                ratios.append(over(taken, "chosen", "single", aim, kind))
    report("eot", given, "Ten draws together, beside ten passes", ratios)


if __name__ == "__main__":
    main()
