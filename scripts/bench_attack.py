"""PGD-20 over 2,000 images: ours beside Foolbox on the raw module, and beside ART.

    make bench                              # all parts; this one: results/bench/attack.md
    python scripts/bench_attack.py --quick  # in small, nothing written

Ours is what makes a row: fixed weights, channels last, bfloat16 (weights stay float32), one fresh
scoring. Foolbox and ART get the network as training leaves it, in float32, and are called as their
manuals say, on the same batches in turn; so all take BatchNorm's running averages. Our default,
recalibrated on the images of a reference set at every forward, is another defence, which the others
cannot attack: its time stands beside. The images are scikit-learn's digits, some of them twice, on
which the networks are trained before; the accuracies under attack must agree. A batch shares its
draws, and batches do not, so they are the units of the interval.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import count

import numpy as np
import torch
from bench import Ratio, options, over, peak, report, timed
from scipy import stats
from torch import Tensor, nn

from defensive_tensorization import config as cfg
from defensive_tensorization.attacks.in_units import pgd
from defensive_tensorization.data import Split, decode, digits
from defensive_tensorization.experiment import components
from defensive_tensorization.experiment.evaluate import answers
from defensive_tensorization.experiment.plan import Plan
from defensive_tensorization.training.loop import train

EPSILON, STEPS, UNIT = 8, 20, 1 / 255
WAYS = {"dense": "defence=none", "ours at 0.9": "theta=0.9"}
RECALIBRATED = "ours, BatchNorm recalibrated"
Attacked = Callable[[Split], Tensor]
"""Images to whether each is still classified correctly, [N]."""


def plan(way: str, width: int, epochs: int, device: torch.device) -> Plan:
    settings = [f"model.width={width}", f"train.epochs={epochs}", "train.autocast=bfloat16"]
    kind = [WAYS[way], "eval.autocast=bfloat16", "model.batchnorm=running", "train.init=scratch"]
    return Plan(cfg.composed([*settings, *kind]), digits.load(name="digits", unit=UNIT).to(device))


def some(p: Plan, start: int, count: int) -> Split:
    inputs = torch.cat([p.task.test.inputs, p.task.train.inputs])
    labels = torch.cat([p.task.test.labels, p.task.train.labels])
    index = torch.arange(start, start + count, device=labels.device) % len(labels)
    return Split(inputs[index], labels[index])


def ours(p: Plan, network: nn.Module) -> Attacked:
    classifier = components.classifier(p, deepcopy(network))
    attack = pgd(epsilon=EPSILON, unit=UNIT, steps=STEPS)
    seeds = count()  # every batch has starts and draws of its own, as with the others

    def make(of: Split) -> Tensor:
        made = answers(classifier, p.task, of, attack, next(seeds), len(of))
        return torch.from_numpy(made.correct > 0)

    return make


def recalibrated(p: Plan, network: nn.Module) -> Attacked:
    model = replace(p.config.model, batchnorm="recalibrated")
    return ours(replace(p, config=replace(p.config, model=model)), network)


def foolbox(p: Plan, network: nn.Module) -> Attacked:
    from foolbox import PyTorchModel
    from foolbox.attacks import LinfPGD

    target = PyTorchModel(raw(network), bounds=p.task.bounds, device=p.task.train.inputs.device)
    attack = LinfPGD(abs_stepsize=UNIT, steps=STEPS, random_start=True)

    def make(of: Split) -> Tensor:
        _, _, fooled = attack(target, decode(of.inputs), of.labels, epsilons=EPSILON * UNIT)
        right: Tensor = ~fooled
        return right.cpu()

    return make


def art(p: Plan, network: nn.Module) -> Attacked:
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    target = PyTorchClassifier(
        raw(network),
        loss=nn.CrossEntropyLoss(),
        input_shape=(3, 32, 32),
        nb_classes=10,
        clip_values=p.task.bounds,
        device_type="cpu" if p.task.train.inputs.device.type == "cpu" else "gpu",
    )

    def make(of: Split) -> Tensor:
        attack = ProjectedGradientDescentPyTorch(
            target,
            eps=EPSILON * UNIT,
            eps_step=UNIT,
            max_iter=STEPS,
            num_random_init=1,
            batch_size=len(of),
            verbose=False,
        )
        labels = of.labels.cpu().numpy()
        attacked = attack.generate(decode(of.inputs).cpu().numpy(), labels)
        return torch.from_numpy(target.predict(attacked, batch_size=len(of)).argmax(1) == labels)

    return make


OTHERS = {"Foolbox on the raw module": foolbox, "ART": art}


def raw(network: nn.Module) -> nn.Module:
    """As torch makes it: parameters that want gradients, channels first."""
    return deepcopy(network).to(memory_format=torch.contiguous_format).eval().requires_grad_(True)


def once(name: str, way: str, width: int, device: str, batch: int) -> None:
    """One batch by an untrained network, for its peak of memory."""
    p = plan(way, width, 1, torch.device(device))
    (OTHERS | {"ours": ours, RECALIBRATED: recalibrated})[name](p, components.network(p))(
        some(p, 0, batch)
    )


def _keep(attack: Attacked, of: Split, right: list[Tensor]) -> None:
    right.append(attack(of))


def difference(mine: list[Tensor], theirs: list[Tensor]) -> tuple[float, float]:
    """The 95% interval of mine minus theirs: Student's t over batches, which are paired."""
    gaps = np.array(
        [float(m.float().mean() - t.float().mean()) for m, t in zip(mine, theirs, strict=True)]
    )
    half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps))
    return float(gaps.mean() - half), float(gaps.mean() + half)


def main() -> None:
    given = options(__doc__, images=2000, batch=125, epochs=6, width=0)
    device, quick = given.device, given.quick
    width = given.width or (8 if quick else 16 if device.type == "cpu" else 64)
    images, batch, epochs = (16, 8, 1) if quick else (given.images, given.batch, given.epochs)
    known = {"ours": ours, **OTHERS}
    absent = [] if find_spec("art") else ["ART"]
    for name in absent:
        known.pop(name)
    ratios: list[Ratio] = []
    seconds: dict[str, dict[str, float]] = {}
    lines = [f"Robust accuracy, PGD-{STEPS} at {EPSILON}/255, {images:,} images; whole times:", ""]
    lines += ["| network | by | seconds | robust (%) | ours minus it, 95% | |"]
    lines += ["|---|---|---:|---:|---:|---|"]
    notes: list[str] = []
    agree = True
    for way in WAYS:
        p = plan(way, width, epochs, device)
        network = components.network(p)
        train(network, p.task, components.schedule(p), components.optimizer(p, network), 0)
        more = {RECALIBRATED: recalibrated} if cfg.is_random(p.config) else {}
        runs = {name: make(p, network) for name, make in (known | more).items()}
        taken: dict[str, list[float]] = {name: [] for name in runs}
        right: dict[str, list[Tensor]] = {name: [] for name in runs}
        for attack in runs.values():
            attack(some(p, 0, min(batch, 32)))
        for start in range(0, images, batch):
            of = some(p, start, min(batch, images - start))
            for name, attack in runs.items():
                step = partial(_keep, attack, of, right[name])
                taken[name].append(timed(step, device))
        for name in runs:
            accuracy = 100 * float(torch.cat(right[name]).float().mean())
            row = f"| {way} | {name} | {sum(taken[name]):.1f} | {accuracy:.1f} |"
            if name in more:
                ratios.append(over(taken, name, "ours", None, f"PGD-{STEPS} on {way}: "))
            if name == "ours" or name in more:
                lines.append(f"{row} | |")
                continue
            ratios.append(over(taken, "ours", name, 1 / 1.5, f"PGD-{STEPS} on {way}: "))
            low, high = difference(right["ours"], right[name])
            same = low <= 0 <= high
            agree &= same
            span = f"{100 * low:+.1f} to {100 * high:+.1f}"
            lines.append(f"{row} {span} | {'same' if same else 'differs'} |")
        seconds[way] = {name: sum(all_) for name, all_ in taken.items()}
        peaks = {name: [peak(once, name, way, width, device.type, batch)] for name in runs}
        of_memory = f"peak memory on {way}: "
        ratios += [over(peaks, "ours", o, None, of_memory) for o in OTHERS if o in runs]
        ratios += [over(peaks, name, "ours", None, of_memory) for name in more]
        told = ", ".join(f"{name} {mib:.0f}" for name, [mib] in peaks.items())
        notes += [f"Peak MiB on {way}, one batch of {batch}: {told}.", ""]
    notes += [f"{name} is not installed: it is left out." for name in absent]
    title = f"PGD-{STEPS} over {images:,} images: ours, Foolbox, ART (width {width})"
    report("attack", given, title, ratios, *lines, "", *notes, seconds=seconds, same_accuracy=agree)


if __name__ == "__main__":
    main()
