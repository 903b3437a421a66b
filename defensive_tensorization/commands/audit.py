"""From a configuration, or a trained run's name, to an audit on disk and its page."""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from .. import config as cfg
from .. import sketching
from ..auditing.examine import VERSION, examine
from ..auditing.panel import Member
from ..auditing.target import AuditTarget, Budget
from ..config import Config
from ..data import decode
from ..errors import UsageError, in_one_line
from ..experiment import components
from ..experiment.ensure import Trained, trained
from ..experiment.evaluate import described
from ..experiment.plan import Plan, plan
from ..experiment.released_networks import there
from ..report import audits
from ..system import malloc, output, provenance
from .stored_run import stored

log = logging.getLogger(__name__)


def audit(config: Config, command: str, member: Member | None = None) -> Path:
    """The last of at most audit.rounds audits, each with the budget that the last asked for."""
    path = _once(config, command, member)
    for _ in range(config.audit.rounds - 1):
        remedy = json.loads(path.read_text())["verdict"]["remedy"]
        if not remedy:
            break
        log.info("again with %s", " ".join(f"{key}={value}" for key, value in remedy.items()))
        config = cfg.amended(config, [f"{key}={value}" for key, value in remedy.items()])
        path = _once(config, command, member)
    return path


def _once(config: Config, command: str, member: Member | None) -> Path:
    """The audit's file, made if it is not there; its page is rendered beside it anew."""
    others = {str(each.surrogate) for each in config.attack.values()} - {"None", "identity"}
    if others:
        raise UsageError(
            "an audit takes the identity for sgn's derivative: "
            f"leave attack.surrogate={max(others)} out"
        )
    p = plan(config)
    of = trained(p)
    surrogate_model = None if member and member.wrap else _twin(p)
    name = "-".join([p.name, *_joined(p), *([member.name] if member else [])])
    settings = {
        "version": VERSION,
        "audit": {k: v for k, v in vars(config.audit).items() if k != "rounds"},
        "seed": config.eval.seed,
        "weights": of.weights,
        "twin": surrogate_model and surrogate_model.weights,
        "fingerprint": p.weights_id,
        "autocast": config.eval.autocast,
        "sketch": config.eval.sketch,
        "batch_size": config.eval.batch_size,
        "prune": config.defence.prune and config.defence.prune.fraction,
        "dropout": config.defence.last and config.defence.last.rate,
        "input": config.defence.input and vars(config.defence.input),
        "batchnorm": [cfg.batchnorm(config), config.model.reference],
    }
    name = f"{name}-{cfg.digest(settings, 8)}"
    path = Path(config.paths.runs) / "audits" / f"{name}.json"
    if not path.exists():
        started = time.perf_counter()
        budget = _budget(config)
        audited = subject(p, of.network, member.wrap if member else None, surrogate_model)
        control = nullcontext() if config.eval.sketch else sketching.disabled(audited.model)
        with control:
            result = examine(audited, budget, config.eval.seed, config.audit.level)
        path.parent.mkdir(parents=True, exist_ok=True)
        told = _provenance(p, of.weights, of.commit, command, time.perf_counter() - started)
        known = {"name": name, "member": member.name if member else None}
        text = json.dumps({**known, **told, **result}, indent=1, allow_nan=False)
        partial = path.with_suffix(".partial")
        partial.write_text(text + "\n")
        partial.replace(path)
    for made in audits.write(json.loads(path.read_text()), path.parent):
        log.info("wrote %s", made)
    return path


def _budget(config: Config) -> Budget:
    told = {k: v for k, v in vars(config.audit).items() if k not in ("images", "level", "rounds")}
    return Budget(**told)


def subject(
    p: Plan,
    network: nn.Module,
    wrap: Callable[[nn.Module, float], nn.Module] | None = None,
    surrogate_model: Trained | None = None,
) -> AuditTarget:
    """twin: the dense network trained alike; a wrapped network's is itself, unwrapped."""
    c = p.config
    split = p.task.test.part(c.audit.images, "audit.images")
    plain = components.classifier(p, network)
    model = plain if wrap is None else wrap(plain, c.audit.epsilon * c.dataset.unit).eval()
    other = (
        components.classifier(p.surrogate_plan, surrogate_model.network)
        if surrogate_model
        else None
    )
    return AuditTarget(
        model=model,
        x=decode(split.inputs),
        y=split.labels,
        bounds=p.task.bounds,
        unit=c.dataset.unit,
        classes=len(p.task.classes),
        available=len(p.task.test),
        surrogate_model=plain if wrap else other,
        batch_size=c.eval.batch_size,
        radius=c.audit.epsilon * c.dataset.unit,
    )


def _twin(p: Plan) -> Trained | None:
    """The dense network trained alike, if it is there and is not this one."""
    if p.config.defence.name == "none" or not there(p.surrogate_plan):
        return None
    return trained(p.surrogate_plan)


def _joined(p: Plan) -> list[str]:
    """What joined or left the weights after training, which the run's name does not say."""
    d = p.config.defence
    joined = [d.name] if d.prune or d.input else []
    return joined if p.config.eval.sketch else [*joined, "unsketched"]


def _provenance(
    p: Plan, weights: str, trained_commit: str, command: str, seconds: float
) -> dict[str, Any]:
    c = p.config
    return {
        "run_id": p.name,
        "fingerprint": p.weights_id,
        "weights": weights,
        "defence": c.defence.name,
        "theta": c.defence.conv.theta if c.defence.conv else 1.0,
        "sketch": c.eval.sketch,
        "batchnorm": cfg.batchnorm(c),
        "network": f"{c.model.name}, width {c.model.width}, {c.precision.name} weights",
        "epochs": c.train.epochs,
        "scale": c.scale.name,
        "data": p.task.title,
        "data_digest": p.task.digest,
        "subset": described(c.audit.images, p.task.kind),
        "autocast": c.eval.autocast,
        "eval_seed": c.eval.seed,
        "commit": provenance.commit_name(),
        "trained_commit": trained_commit,
        "versions": provenance.versions(),
        "hardware": provenance.hardware(p.task.train.inputs.device),
        "seconds": round(seconds, 1),
        "command": command,
    }


def main() -> None:
    """python -m defensive_tensorization audit [RUN OR FINGERPRINT] [key=value ...]"""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(f"{main.__doc__}\n\ndocs/audit.md tells of the keys audit.*, make list of the runs")
        return
    with spoken() as words:
        model = words.pop(0) if words and "=" not in words[0] else None
        config = stored(model, words) if model else cfg.composed(words)
        command = provenance.command(program="-m defensive_tensorization audit")
        result = json.loads(audit(config, command).read_text())
        print(audits.text(result))


@contextmanager
def spoken() -> Iterator[list[str]]:
    """The words of the command line, progress in lines, one ending."""
    output.log(logging.INFO)
    provenance.commit()
    malloc.keep()
    with in_one_line("paths.runs"):
        yield sys.argv[1:]
