"""Clips and their twins: SNR by hand, WAV files read back, and the way from a configuration."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from defensive_tensorization.commands.audio_examples import (
    AdversarialExample,
    audio_examples,
    flipped_first,
    main,
    written,
)
from defensive_tensorization.config import composed

AUDIO = (
    *(
        "experiment=quickstart_audio",
        "method=baseline",
        "train.epochs=1",
        "train.images=64",
        "model.width=2",
    ),
    *("eval.images=20", "eval.epsilon=[0.032]", "dataset.cache=null", "device=cpu", "logger=none"),
)


def twin(clip: torch.Tensor, attacked: torch.Tensor) -> AdversarialExample:
    return AdversarialExample("0-yes", "yes", clip, attacked, "yes", "no")


@pytest.mark.parametrize("decibels", [0.0, 10.0, 20.0, 26.0])
def test_snr_is_in_decibels_of_clip_over_noise(decibels: float) -> None:
    clip = 0.3 * torch.sin(torch.arange(16_000.0))
    noise = clip * 10 ** (-decibels / 20)
    assert twin(clip, clip + noise).snr == pytest.approx(decibels, abs=1e-3)


def test_wavs_read_back(tmp_path: Path) -> None:
    clip, attacked = torch.rand(2, 16_000) - 0.5
    made = twin(clip, attacked)
    names = [path.name for path in written(made, tmp_path / "deep")]
    assert names == ["0-yes-clip.wav", "0-yes-attacked.wav", "0-yes-difference.wav"]
    for name, sound in zip(names, (clip, attacked, attacked - clip), strict=True):
        read, rate = soundfile.read(tmp_path / "deep" / name)
        assert rate == 16_000
        np.testing.assert_allclose(read, sound.numpy(), atol=0.5 / 32768 + 1e-7)


def test_clips_that_the_attack_flips_come_first() -> None:
    of = "the attack flips {} of 5 clips that the network gets right; shown: the first {} of these"
    assert flipped_first([False, True, False, True, True]) == ([1, 3, 4], of.format(3, 3))
    assert flipped_first([True, True, True, True, False]) == ([0, 1, 2], of.format(4, 3))
    one, told = flipped_first([False, False, False, True, False])
    assert (one, told) == ([3, 0, 1], of.format(1, 1) + ", then 2 that withstand it")
    assert flipped_first([False])[0] == [0]


def test_a_configuration_gives_a_figure_an_index_and_sounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    figure, index, *sounds = audio_examples(
        composed([*AUDIO, "paths.runs=runs", "paths.results=results"])
    )
    assert figure == Path("results/smoke/audio.png") and figure.is_file()
    assert "[audio.png](audio.png): Clips, their adversarial examples" in index.read_text()
    assert len(sounds) in (3, 6, 9) and capsys.readouterr().out.count("wrote ") == len(sounds) + 2
    for at in range(0, len(sounds), 3):
        clip, attacked, difference = (soundfile.read(path)[0] for path in sounds[at : at + 3])
        np.testing.assert_allclose(attacked - clip, difference, atol=2 / 32768)
        assert math.isclose(np.abs(difference).max(), 0.032, abs_tol=2 / 32768)


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["experiment=quickstart"], "dataset=digits holds images: take one of clips"),
        (["experiment=quickstart_audio", "attack=[]"], "attack=[] leaves nothing to listen to"),
        (["theta=2"], "theta must lie in (0, 1], got 2"),
    ],
)
def test_errors_are_one_line(
    overrides: list[str],
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(overrides)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {text}")
