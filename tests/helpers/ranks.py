"""What test_distributed.py asks of one process, and of each of two."""

import os
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from defensive_tensorization import sketching
from defensive_tensorization.attacks.training import pgd_training, r_fgsm_training
from defensive_tensorization.errors import UsageError
from defensive_tensorization.models.batchnorm import DrawBatchNorm1d, DrawBatchNorm2d, synchronise
from defensive_tensorization.training import distributed
from defensive_tensorization.training.distributed import Team
from defensive_tensorization.training.loop import train
from defensive_tensorization.training.schedule import Schedule
from defensive_tensorization.tucker import TuckerConv2d
from helpers.fake_task import split, task

SCHEDULE = Schedule(2, 16, milestones=(0.5,), gamma=0.1, crop=1)
DATA = task(split(64), split(64), flip=True)


def network(theta: float = 0.7) -> nn.Module:
    torch.manual_seed(0)
    conv = TuckerConv2d.from_conv(nn.Conv2d(3, 8, 3, bias=False), theta, init="random")
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(
        conv, DrawBatchNorm2d(8), nn.ReLU(), pool, nn.Flatten(), DrawBatchNorm1d(8), nn.Linear(8, 4)
    )


def trained(*, frozen: bool = False, parallel: Any = None, **options: Any) -> dict[str, Tensor]:
    net = network()
    perturb = options.pop("perturb", None)
    if perturb:
        options["perturb"] = partial(perturb.batch, net, net, (0.0, 1.0))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
    with sketching.frozen(net, seed=0) if frozen else nullcontext():
        progress = train(net, DATA, SCHEDULE, optimizer, 0, team=Team(**parallel or {}), **options)
    losses = [line["loss"] for line in progress.history]
    return {**progress.network, "loss": torch.tensor(losses)}


def penalty(net: nn.Module) -> Tensor:
    return 0.01 * sum(p.square().sum() for p in net.parameters())  # type: ignore[return-value]


def normalised(x: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
    """A share of x [B, C, L] through BatchNorm: outputs, gradients and statistics."""
    norm = DrawBatchNorm1d(x.shape[1])
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, x.shape[1]))
    if distributed.size() > 1:
        synchronise(norm, distributed.moments)
    ((mine, _),) = Team().shares([(x, torch.zeros(len(x)))])
    mine = mine.to(dtype).clone().requires_grad_()
    out = norm(mine)
    (out.float() * torch.arange(1.0, x.shape[1] + 1)[:, None] * mine.float().sin()).sum().backward()
    assert mine.grad is not None and out.dtype == dtype
    return {"out": out.detach(), "grad": mine.grad, **norm.state_dict()}


def draws(**parallel: Any) -> str:
    """Every draw of an epoch."""
    net, plan = network(), Schedule(1, 16, (), 0.1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with sketching.record(net) as ledger:
        train(net, DATA, plan, optimizer, 0, team=Team(**parallel))
    return str(ledger.to_dict())


class Uneven:
    """An attack of one step in the first process and three in the second."""

    def batch(self, net: nn.Module, deployed: nn.Module, bounds: Any, x: Tensor, y: Tensor, _: Any):
        made = pgd_training(unit=1 / 255, sigma=1e-3, largest=1e-3, random_start=False)
        for _step in range(1 + 2 * distributed.rank()):
            made.batch(net, deployed, bounds, x, y, torch.Generator())
        return x, nullcontext()


def everything() -> dict[str, Any]:
    x = torch.randn(8, 3, 5, generator=torch.Generator().manual_seed(0)) * 3 + 100
    two = {"processes": distributed.size()}
    return {
        "frozen": trained(frozen=True),
        "live": trained(),
        "penalty": trained(frozen=True, penalty=penalty),
        "r_fgsm": trained(frozen=True, perturb=r_fgsm_training(unit=1 / 255)),
        "pgd": trained(frozen=True, perturb=pgd_training(unit=1 / 255)),
        "uneven": trained(frozen=True, perturb=Uneven()),
        "local": trained(frozen=True, parallel={"batchnorm": "local", **two}),
        "norm": normalised(x, torch.float32),
        "norm16": normalised(x, torch.bfloat16),
        "draws": draws(),
        "own": draws(draws="own", **two),
        "told": distributed.broadcast(lambda: f"by {distributed.rank()}"),
        "exchanged": [
            list(distributed.gather((i, f"{i}") for i in distributed.shard_indices(5, shift)))
            for shift in (0, 1)
        ],
        "dealt": [distributed.shard_indices(5, shift) for shift in (0, 1)],
        "refused": refused(),
    }


def refused() -> list[str]:
    found = []
    for attempt in (
        lambda: Team(processes=3),
        lambda: list(Team().shares([(torch.zeros(5, 1), torch.zeros(5))])),
    ):
        try:
            attempt()
        except UsageError as error:
            found.append(str(error))
    return found


def take_part(rank: int, port: int, where: Path) -> None:
    """As torchrun starts it."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.join()
    distributed.join()
    torch.save(everything(), where / str(rank))
    dist.destroy_process_group()
