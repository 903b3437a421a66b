"""The loss around an image, on the plane of a gradient and a random direction (Figures 2 to 4).

The image x, the loss's gradient g there and noise r give the points x + a d_0 + b d_1, where d_0 is
g (or its sign) and d_1 is r less its part along d_0, both scaled to a largest entry of 1: a point
of an axis is as far from x, in the l-infinity norm, as its coordinate says. Points are not clipped
to the data's bounds, and the network runs in float32. One of random kernels gives two panels: the
loss under one draw, held for gradient and grid, and the mean over several, as is its gradient.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from filelock import FileLock
from torch import Tensor, nn

from .. import config as cfg
from .. import sketching
from ..data import decode
from ..errors import UsageError
from ..results import landscape_panels
from ..results.landscape_panels import About, Panel
from ..system import provenance
from ..system.progress import bar
from . import components
from .evaluation_config import of_network

if TYPE_CHECKING:
    from ..config import Config
    from .ensure import Trained
    from .plan import Plan

log = logging.getLogger(__name__)

PROTOCOL = 1  # raise it when the same settings give another surface


def panel_config_hash(config: "Config", plane: "Config | None") -> str:
    """Identity of how a panel is laid and evaluated; `plane`: whose gradient, None for its own."""
    of = config.landscape
    assert of is not None
    transform = config.defence.input
    return cfg.digest(
        {
            "version": PROTOCOL,
            "plane": plane and cfg.train_config_hash(plane),
            "image": of.image,
            "grid": [of.extent, of.points],
            "draws": of.draws,
            "direction": of.direction,
            "seed": config.eval.seed,
            "batch_size": config.eval.batch_size,
            "batchnorm": [cfg.batchnorm(config), config.model.reference],
            "input": transform and [transform.bits, transform.median],
            "sketch": config.eval.sketch,
        },
        12,
    )


def file(p: "Plan", how: str) -> Path:
    """Named by the run and the protocol."""
    return Path(p.config.paths.runs) / "landscapes" / f"{p.name}-{how[:8]}.npz"


def example(p: "Plan") -> tuple[Tensor, Tensor]:
    """The image [C, H, W] and its label []; UsageError where there is none."""
    of, split = p.config.landscape, p.task.test
    assert of is not None
    if p.task.kind != "images":
        raise UsageError(
            f"landscape is the loss around an image, dataset={p.task.name} holds {p.task.kind}: "
            "take one of images"
        )
    if of.image >= len(split):
        raise UsageError(
            f"landscape.image must be below {len(split)}, the test set's size, got {of.image}"
        )
    head = split.head(of.image + 1)
    return decode(head.inputs[-1]), head.labels[-1]


def ensure(p: "Plan", of: "Trained", laid: "Plan", by: "Trained", command: str) -> Path:
    """The panels of this network, made where they or their weights are not there yet.

    laid, by  the run whose gradient spans the plane; `p` and `of` themselves: each its own.
    """
    how = panel_config_hash(p.config, None if laid is p else laid.config)
    path = file(p, how)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        weights = {
            (each.about.weights, each.about.plane_weights) for each in landscape_panels.load(path)
        }
        if weights != {(of.weights, by.weights)}:
            with _sketched(p, of.network), _sketched(laid, by.network):
                landscape_panels.save(path, _made(p, of, laid, by, how, command))
    return path


def _made(
    p: "Plan", of: "Trained", laid: "Plan", by: "Trained", how: str, command: str
) -> Iterator[Panel]:
    settings = p.config.landscape
    assert settings is not None
    x, y = example(p)
    model, other = _float32(p, of.network), _float32(laid, by.network)
    seed = p.config.eval.seed
    ticks = torch.linspace(-settings.extent, settings.extent, settings.points, dtype=torch.float64)
    ticks[settings.points // 2] = 0  # exactly the image
    noise = torch.randn(
        x.shape, generator=torch.Generator().manual_seed(sketching.stream(seed, "landscape"))
    )
    commit, dirty = provenance.commit()
    for draws in (1, settings.draws) if sketching.is_live(model) else (0,):
        started = time.perf_counter()
        seeds = [sketching.stream(seed, "landscape", k) for k in range(max(1, draws))]
        g = gradient(other, x, y, seeds if sketching.is_live(other) else seeds[:1])
        directions = plane(g, noise.to(x.device), sign=settings.direction == "sign")
        label = f"{p.name} landscape, {draws} draws" if draws else f"{p.name} landscape"
        logits = torch.stack(
            [
                surface(model, x, directions, ticks, p.config.eval.batch_size, s)
                for s in bar(seeds, len(seeds), label)
            ]
        )  # [K, N, N, classes]
        loss, margin = judged(logits, y)
        middle = settings.points // 2
        predicted = logits[:, middle, middle].argmax(-1).tolist()
        classes = p.task.classes
        yield Panel(
            About(
                **vars(of_network(p, how)),
                weights=of.weights,
                trained_commit=of.commit,
                plane=laid.name,
                plane_weights=by.weights,
                direction=settings.direction,
                gradient_length=float(g.double().norm()),
                image=settings.image,
                label=classes[int(y)],
                predictions={classes[i]: predicted.count(i) for i in sorted(set(predicted))},
                draws=draws,
                seed=seed,
                commit=commit,
                dirty=dirty,
                versions=provenance.versions(),
                hardware=provenance.hardware(x.device),
                seconds=round(time.perf_counter() - started, 3),
                command=command,
            ),
            ticks=ticks.float().numpy(),
            image=x.cpu().numpy(),
            directions=directions.cpu().numpy(),
            loss=loss.mean(0).float().cpu().numpy(),
            spread=(loss.std(0) if len(loss) > 1 else 0 * loss[0]).float().cpu().numpy(),
            margin=margin.mean(0).float().cpu().numpy(),
        )
        log.info("%s  %d x %d points", label, len(ticks), len(ticks))


def gradient(model: nn.Module, x: Tensor, y: Tensor, seeds: Sequence[int]) -> Tensor:
    """Of the cross-entropy at x [C, H, W], the mean over the draws that the seeds make."""
    total = torch.zeros_like(x)
    for seed in seeds:
        at = x.clone().requires_grad_()
        with _held(model, seed):
            (g,) = torch.autograd.grad(F.cross_entropy(model(at[None]), y[None]), at)
        total += g
    return total / len(seeds)


def plane(g: Tensor, noise: Tensor, *, sign: bool = False) -> Tensor:
    """[2, C, H, W]: g's direction (or its sign's), and the noise's part orthogonal to it."""
    if not (g.isfinite().all() and g.abs().max() > 0):
        raise UsageError(
            "the gradient at the image vanishes or is not finite, and has no direction: take "
            "another landscape.image"
        )
    first = (g.sign() if sign else g).double()
    second = noise.double()
    second = second - (second * first).sum() / first.square().sum() * first
    return torch.stack([d / d.abs().max() for d in (first, second)]).float()


def surface(
    model: nn.Module, x: Tensor, directions: Tensor, ticks: Tensor, batch_size: int, seed: int
) -> Tensor:
    """logits [N, N, classes] under one draw; [j, i] is at x + ticks[i] d_0 + ticks[j] d_1."""
    across = ticks.float().to(x.device)
    n = len(across)
    found = []
    with torch.no_grad(), _held(model, seed):
        for start in range(0, n * n, batch_size):
            at = torch.arange(start, min(start + batch_size, n * n), device=x.device)
            a, b = across[at % n], across[at // n]
            points = x + torch.einsum("kb,k...->b...", torch.stack([a, b]), directions)
            found.append(model(points.contiguous(memory_format=torch.channels_last)))
    return torch.cat(found).reshape(n, n, -1)


def judged(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """logits [..., classes] to the loss [...] and the label's lead over the next class [...]."""
    wide = logits.double()
    loss = -wide.log_softmax(-1)[..., y]
    others = wide.clone()
    others[..., y] = -torch.inf
    return loss, wide[..., y] - others.amax(-1)


def _sketched(p: "Plan", network: nn.Module) -> AbstractContextManager[None]:
    """As it is evaluated: with its draws, or as the control without."""
    return nullcontext() if p.config.eval.sketch else sketching.disabled(network)


def _held(model: nn.Module, seed: int) -> AbstractContextManager[None]:
    return sketching.frozen(model, seed=seed) if sketching.is_live(model) else nullcontext()


def _float32(p: "Plan", network: nn.Module) -> nn.Module:
    c = p.config
    exact = replace(p, config=replace(c, eval=replace(c.eval, autocast="float32")))
    return components.classifier(exact, network)
