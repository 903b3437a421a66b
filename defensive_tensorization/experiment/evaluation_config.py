"""From a score to the row that anybody can judge it by."""

from typing import TYPE_CHECKING, Any

from .. import config as cfg
from ..attacks import Attack
from ..config import Config
from ..results.network import OfNetwork
from ..results.row import OUTSIDE, Row
from ..system import provenance
from .evaluate import Score, described

if TYPE_CHECKING:
    from .plan import Plan


PROTOCOL = 1  # raise it when the same settings attack or score otherwise


def eval_config_hash(config: Config, attack: Attack | None) -> str:
    """Identity of how a score is made, its seed apart; 12 hex digits, from the configuration."""
    handling = cfg.batchnorm(config)
    settings: dict[str, Any] = {
        "attack": attack and [attack.name, attack.epsilon, attack.steps, attack.random_start],
        "step_size": attack and round(attack.step_size / attack.unit, 9),
        "images": config.eval.images,
        "batch_size": config.eval.batch_size,
        "autocast": config.eval.autocast,
        "batchnorm": handling,
        "reference": config.model.reference if handling == "recalibrated" else None,
    }
    if PROTOCOL > 1:
        settings["version"] = PROTOCOL
    if attack and config.dataset.unit != 1 / 255:
        settings["unit"] = config.dataset.unit
    if attack and attack.surrogate != "identity":  # a later key, left out at its default
        settings["surrogate"] = [attack.surrogate, "in float32"]  # it was not, before
    if attack and attack.knowledge != "fresh":
        settings["knowledge"] = attack.knowledge
    if attack and attack.options:
        settings["options"] = dict(attack.options)
        if settings["options"].get("average") == "gradient":
            settings["gradients"] = "unit length"  # whole ones were averaged before
    if attack and attack.name == "square":
        settings["incumbent"] = "asked again"  # it kept its luckiest estimate before
    if config.eval.draws != 1:
        settings["draws"] = config.eval.draws
    if config.eval.gradient_images and attack is None:
        settings["gradients of"] = config.eval.gradient_images
    if not config.eval.sketch:
        settings["sketch"] = False
    transform = config.defence.input
    if transform:
        settings["input"] = [transform.bits, transform.median, attack and attack.input]
    if config.defence.prune:
        settings["prune"] = config.defence.prune.fraction
    if config.defence.last:
        settings["dropout"] = config.defence.last.rate
    slots = {name: getattr(config.defence, name) for name in ("input", "prune", "last")}
    if outside := {name: told for name, of in slots.items() if (told := cfg.told_outside(of))}:
        settings["outside"] = outside
    targets = {name: each._target_ for name, each in config.attack.items()}
    sources = {name: cfg.persons_source(target) for name, target in targets.items()}
    if attack and any(sources.values()):  # a person's own attacks
        settings["source"] = {name: found for name, found in sources.items() if found}
    return cfg.digest(settings, 12)


def of_network(p: "Plan", protocol: str) -> OfNetwork:
    """What a result made by this protocol says of its network."""
    c, conv = p.config, p.config.defence.conv
    return OfNetwork(
        run_id=p.name,
        fingerprint=p.weights_id,
        recipe=cfg.train_config_hash(c),
        protocol=protocol,
        scale=c.scale.name,
        dataset=c.dataset.name,
        data=p.task.title,
        data_digest=p.task.digest,
        model=c.model.name,
        width=c.model.width,
        precision=c.precision.name,
        defence=c.defence.name,
        theta=conv.theta if conv else 1.0,
        batchnorm=cfg.batchnorm(c),
        train_seed=c.seed,
        epochs=c.train.epochs,
    )


def row(
    p: "Plan", score: Score, command: str, *, trained_commit: str = "", weights: str = ""
) -> Row:
    c, attack = p.config, score.attack
    answers = score.answers.encoded() if c.eval.draws > 1 else ("", "", "")
    commit, dirty = provenance.commit()
    return Row(
        **vars(of_network(p, eval_config_hash(c, attack))),
        attack=attack.name if attack else "clean",
        epsilon=attack.epsilon if attack else 0.0,
        epsilon_absolute=attack.radius if attack else 0.0,
        steps=attack.steps if attack else 0,
        step_size=attack.step_size if attack else 0.0,
        random_start=attack.random_start if attack else False,
        draws=_draws(c, score),
        n=score.images,
        subset=described(c.eval.images, p.task.kind),
        eval_seed=score.eval_seed,
        clean_accuracy=score.clean_accuracy,
        robust_accuracy=score.robust_accuracy,
        commit=commit,
        dirty=dirty,
        versions=provenance.versions(),
        hardware=provenance.hardware(p.task.train.inputs.device),
        seconds=round(score.seconds, 3),
        command=command,
        trained_commit=trained_commit,
        weights=weights,
        knowledge=attack.knowledge if attack else "fresh",
        options=" ".join(f"{key}={value}" for key, value in attack.options) if attack else "",
        scored=c.eval.draws,
        correct=answers[0],
        votes=answers[1],
        by_draw=answers[2],
        input=attack.input if attack and c.defence.input else "",
        sketch=c.eval.sketch,
        outcomes=score.answers.outcomes(),
        train_autocast=c.train.autocast,
        autocast=c.eval.autocast,
        random=cfg.is_random(c),
        gradient_cosine=score.gradient_cosine,
        gradient_images=0 if score.gradient_cosine is None else c.eval.gradient_images or 0,
    )


def _draws(config: Config, score: Score) -> str:
    attack = score.attack
    if not cfg.has_randomness(config.defence):
        return "none: deterministic network"
    full = "theta = 1" if config.defence.conv else "no randomness"
    if not cfg.is_random(config):
        return f"none: {full} in attack and scoring"
    size, n = config.eval.batch_size, config.eval.draws
    known, k = (attack.knowledge, attack.draws) if attack else ("fresh", 1)
    scored = f"{'a fresh one' if n == 1 else f'{n} fresh ones'} per batch of {size} for scoring"
    if attack and attack.name == OUTSIDE and known == "fresh":
        return f"AutoAttack's: gradients averaged over {k}, loss and success of one; {scored}"
    if known == "fresh" and k > 1:
        return f"{k} for each question of the attack, averaged, {score.batching_note}; {scored}"
    if dict(attack.options if attack else ()).get("draw_per") == "image":
        return f"one per forward of the attack and image; {scored}"
    if known == "fresh" and n > 1:
        return f"one per forward of the attack; {scored}"
    return {
        "fresh": f"one per forward, shared by a batch of {size}; fresh for each step and scoring",
        "frozen": f"one per batch of {size}, the same for every step and scoring",
        "transfer": f"one per batch of {size} for every step; {scored}",
        "omniscient": f"none for the attack ({full}); {scored}",
        "blackbox": f"none for the attack (dense twin); {scored}",
    }[known]
