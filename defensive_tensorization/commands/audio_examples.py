"""Clips to look at and to listen to: each beside its adversarial example and the difference.

The network is that of a configuration, trained first if it is missing; nothing here is a row.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import config as cfg
from ..config import Config
from ..errors import UsageError, in_one_line
from ..experiment import wandb_log
from ..report import attack_names, index, waveforms
from ..system import output
from ..tables.table_spec import folder_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..experiment.plan import Plan

COUNT = 3  # clips in the figure
TRIED = 30  # clips that are attacked, to find some that the attack flips


@dataclass(frozen=True)
class AdversarialExample:
    """A clip and its attacked form, both [L] in [-1, 1], with what the network says of each."""

    name: str
    truth: str
    clip: "Tensor"
    attacked: "Tensor"
    clean_prediction: str
    attacked_prediction: str

    @property
    def difference(self) -> "Tensor":
        return self.attacked - self.clip

    @property
    def snr(self) -> float:
        """Power of the clip over that of the perturbation, in dB."""
        ratio = self.clip.double().square().sum() / self.difference.double().square().sum()
        return float(10 * ratio.log10())


def audio_examples(config: Config) -> list[Path]:
    """Writes <results>/<scale>/audio.png and <runs>/audio/<run>/*.wav, and mirrors both to W&B."""
    from ..experiment.ensure import trained
    from ..experiment.plan import attacks, plan

    p = plan(config)
    if p.task.kind != "clips":
        raise UsageError(f"dataset={config.dataset.name} holds {p.task.kind}: take one of clips")
    attack = next(iter(attacks(config)), None)
    if attack is None:
        raise UsageError("attack=[] leaves nothing to listen to: name one, such as attack=[fgsm]")
    found, flipped = adversarial_examples(p, trained(p).network)
    folder = folder_of(config)
    about = f"{attack_names.shown(attack.name)} at ε = {attack.epsilon:g}"
    figure = waveforms.clip_figure(
        [views(example) for example in found],
        folder / "audio.png",
        title=f"Clips, their adversarial examples, and the difference: {about}",
        caption=f"{p.name}; {p.task.title}; {flipped}; each prediction is of one draw",
    )
    sounds = [file for example in found for file in written(example, wavs(p))]
    with wandb_log.opened(config, "audio", f"{p.name}-audio") as run:
        run.used(wandb_log.checkpoint(p))
        run.image(wandb_log.SOUNDS, lambda: figure)
        for example, at in zip(found, range(0, len(sounds), 3), strict=True):
            for file in sounds[at : at + 3]:
                run.audio(file.stem, file, f"{example.truth}: {caption(example)}")
    made = [figure, index.write_index(folder), *sounds]
    for path in made:
        print(f"wrote {path}")
    return made


def adversarial_examples(p: "Plan", network: "nn.Module") -> tuple[list[AdversarialExample], str]:
    """The first COUNT test clips that the attack flips, and how many of those tried it flips.

    Tried are the first TRIED clips, of a fixed permutation, that the network gets right. If fewer
    than COUNT are flipped, clips that withstand the attack follow.
    """
    import torch

    from .. import sketching
    from ..data import decode
    from ..experiment import components
    from ..experiment.plan import attacks

    classifier, classes = components.classifier(p, network), p.task.classes
    attack = attacks(p.config)[0]
    split = p.task.test.head(100)
    sketching.seed(classifier, sketching.stream(p.config.eval.seed, "listen"))
    with torch.random.fork_rng():
        torch.manual_seed(sketching.stream(p.config.eval.seed, "listen", "attack"))
        with torch.no_grad():
            clean = classifier(decode(split.inputs)).argmax(1)
        right = (clean == split.labels).nonzero().flatten()[:TRIED]
        x, y = decode(split.inputs[right]), split.labels[right]
        if not len(right):
            raise UsageError(f"{p.name} gets none of 100 clips right: train it for longer")
        attacked = attack(classifier, x, y, p.task.bounds)
        with torch.no_grad():
            after = classifier(attacked).argmax(1)
    chosen, about = flipped_first(after.ne(y).tolist())
    return [
        AdversarialExample(
            *(f"{i}-{_plain(classes[y[of]])}", classes[y[of]], x[of, 0].cpu()),
            *(attacked[of, 0].cpu(), classes[clean[right[of]]], classes[after[of]]),
        )
        for i, of in enumerate(chosen)
    ], about


def flipped_first(flipped: Sequence[bool]) -> tuple[list[int], str]:
    """Places of the clips to show, COUNT at most, and a sentence that says how they were chosen."""
    order = sorted(range(len(flipped)), key=lambda place: (not flipped[place], place))[:COUNT]
    about = f"the attack flips {sum(flipped)} of {len(flipped)} clips that the network gets right"
    shown = sum(flipped[place] for place in order)
    rest = "" if shown == len(order) else f", then {len(order) - shown} that withstand it"
    return order, f"{about}; shown: the first {shown} of these{rest}"


def views(example: AdversarialExample) -> list[waveforms.View]:
    from ..models.logmel import LogMelSpectrogram

    headings = (
        f"clip '{example.truth}': heard as '{example.clean_prediction}'",
        f"attacked: heard as '{example.attacked_prediction}'",
        f"difference, SNR {example.snr:.1f} dB",
    )
    spectrogram = LogMelSpectrogram()
    return [
        waveforms.View(heading, sound.numpy(), spectrogram(sound[None, None])[0, 0].numpy())
        for heading, sound in zip(headings, sounds(example).values(), strict=True)
    ]


def sounds(example: AdversarialExample) -> dict[str, "Tensor"]:
    return {"clip": example.clip, "attacked": example.attacked, "difference": example.difference}


def caption(example: AdversarialExample) -> str:
    return f"{example.clean_prediction} -> {example.attacked_prediction}, SNR {example.snr:.1f} dB"


def wavs(p: "Plan") -> Path:
    return Path(p.config.paths.runs) / "audio" / p.name


def written(example: AdversarialExample, folder: Path) -> list[Path]:
    """Three WAV files, 16 bits at 16 kHz."""
    import soundfile

    from ..data.audio import stored
    from ..data.clips import RATE

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind, sound in sounds(example).items():
        paths.append(folder / f"{example.name}-{kind}.wav")
        soundfile.write(paths[-1], stored(sound.numpy(), len(sound)), RATE)
    return paths


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)


def main(arguments: Sequence[str] | None = None) -> None:
    """python scripts/listen.py [method=ours_0.9] [key=value ...]"""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for key, default in (("experiment", "table5"), ("method", "baseline")):
        if not any(each.startswith(f"{key}=") for each in given):
            given.insert(0, f"{key}={default}")
    output.log(logging.INFO)
    with in_one_line("paths.results"):
        audio_examples(cfg.composed(given))
