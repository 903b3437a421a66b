"""What a caption says that rows do not: the settings behind their hashes, in words."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from .. import config as cfg
from ..config import Config
from ..config.network_schema import PerturbConfig
from ..report.caption import Facts, by_label


def settings(cells: Mapping[str, Config]) -> Facts:
    """(topic, statement) pairs from the methods' configurations, by the label of their column."""

    def each(value: Callable[[Config], str]) -> str:
        return by_label((label, value(cell) or "none") for label, cell in cells.items())

    def sketch(c: Config) -> str:
        conv = c.defence.conv
        if conv is None or not cfg.has_random_kernels(c.defence):
            return "none"
        which = "all modes" if conv.modes is None else f"modes {conv.modes}"
        scaled = ", divided by what is kept" if conv.rescale else ""
        return f"{which} larger than {conv.min_dim}, rank {conv.rank}, {conv.init} basis{scaled}"

    def recipe(c: Config) -> str:
        t = c.train
        rate = t.optimizer.lr * (t.lr_scale if cfg.base_of(c) else 1)
        crop = f", crops of {t.crop}" if t.crop else ""
        base = cfg.base_of(c)
        start = "at θ = 1, undefended" if c.defence.conv else "of the dense network"
        after = f", after {base.train.epochs} epochs {start}" if base else ""
        return (
            f"{t.optimizer._target_.rpartition('.')[2]}, lr {rate:g}, weight decay "
            f"{t.optimizer.weight_decay or 0:g}, batch {t.batch_size}{crop}, {t.autocast}{after}"
        )

    def reference(c: Config) -> str:
        used = cfg.batchnorm(c) == "recalibrated"
        kind = cfg.named(c.model._target_).reads
        return f"{c.model.reference} training {kind}" if used else "none"

    def binary(c: Config) -> str:
        p = c.precision
        if not _is_binary(c):
            return "none"
        scales = [name for name in ("K", "alpha") if getattr(p, name)]
        used = {attack.surrogate for attack in c.attack.values()}
        return (
            f"{p.order}, scales {' and '.join(scales) or 'none'}, first layer {p.first}, last "
            f"{p.last}, shortcuts {p.shortcut}; sgn's derivative under attack: "
            f"{', '.join(sorted(each or 'identity' for each in used))}"
        )

    return (
        *((("binary layers", each(binary)),) if any(map(_is_binary, cells.values())) else ()),
        ("sketch", each(sketch)),
        *((("defence", each(_defence)),) if any(map(_defence, cells.values())) else ()),
        ("training", each(recipe)),
        ("BatchNorm reference", each(reference)),
        ("attacked in", each(lambda c: c.eval.autocast)),
    )


def _defence(config: Config) -> str:
    """What fills the slots beside `conv`; "" where nothing does."""
    d = config.defence
    slots = {name: getattr(d, name) for name in ("relu", "input", "prune", "last", "perturb")}
    outside = {name: of for name, of in slots.items() if of and cfg.is_outside(of)}
    parts = [f"{name} {_called(of)}" for name, of in outside.items()]
    d = replace(d, **dict.fromkeys(outside))  # type: ignore[arg-type]
    if d.relu:
        parts.append(f"activations of {d.relu.bits} bits up to {d.relu.clip:g}, beta {d.beta:g}")
    if d.input:
        median = " and the 2x2 median" if d.input.median else ""
        told = {"oblivious": "oblivious to"}
        known = {each.input or "through" for each in config.attack.values()}
        how = [told.get(each, each) for each in sorted(known)]
        parts.append(f"colours of {d.input.bits} bits{median}, attacks {' and '.join(how)} it")
    if d.prune:
        share = f"{d.prune.fraction:g} of their number, after training"
        parts.append(f"activations pruned to those drawn with replacement, {share}")
    if d.last:
        rates = f"{d.last.rate:g} at test, {d.last.train_rate:g} in training"
        parts.append(f"dropout before the last layer, {rates}")
    if d.perturb:
        p = d.perturb
        size = f"ε {p.epsilon:g}" if p.epsilon else f"ε |N(0, {p.sigma:g})| up to {p.largest:g}"
        parts.append(
            f"trained on {p.name} of {size}, in levels, {_steps(p)}; BatchNorm as attacked"
        )
        if cfg.has_random_kernels(d):
            parts.append(f"its draws {p.draws}, the update's {p.update}")
    return "; ".join(parts)


def _called(node: Any) -> str:
    given = ", ".join(f"{name} {value}" for name, value in node.options.items())
    return f"{node._target_}({given})"


def _steps(p: PerturbConfig) -> str:
    if p.alpha is not None:
        return f"a random step of {p.alpha:g} and FGSM of the rest"
    start = "a random start" if p.random_start else "the image"
    return f"1 to min(ε + 4, 1.25 ε) steps of {p.step_size:g} from {start}"


def _is_binary(config: Config) -> bool:
    return config.precision._target_ is not None
