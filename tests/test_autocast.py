"""autocast=auto: bfloat16 where the processor computes it, float32 elsewhere, and what follows."""

import logging
from pathlib import Path

import pytest
from helpers.fake_rows import row

from defensive_tensorization import config as cfg
from defensive_tensorization import run
from defensive_tensorization.config import composed
from defensive_tensorization.experiment.evaluation_config import eval_config_hash
from defensive_tensorization.experiment.plan import attacks, plan
from defensive_tensorization.results import store
from defensive_tensorization.system import processor
from defensive_tensorization.tables.table_spec import laid

FLAGS = {
    "amx": "fma avx2 avx512f avx512_bf16 amx_bf16 amx_tile",
    "avx512_bf16": "fma avx2 avx512f avx512_bf16",
    "avx2": "fma avx2",
}
SMALL = ("model.width=8", "train.epochs=1", "train.images=64", "eval.images=8", "eval.runs=1")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes this process believe that it runs on a processor of a kind."""
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)

    def become(kind: str) -> None:
        file = tmp_path / f"cpuinfo-{kind}"
        file.write_text(f"processor\t: 0\nflags\t\t: {FLAGS[kind]}\n\nprocessor\t: 1\n")
        monkeypatch.setattr(processor, "CPUINFO", file)

    return become


def auto(*words: str) -> cfg.Config:
    return composed(["scale.autocast=auto", "device=cpu", "defence=none", "logger=none", *words])


@pytest.mark.parametrize(
    ("kind", "limit", "native"),
    [
        ("amx", None, "AMX"),
        ("avx512_bf16", None, "AVX512-BF16"),
        ("avx2", None, ""),
        ("amx", "AVX2", ""),
        ("amx", "AVX512_CORE", ""),
        ("amx", "avx512_core_bf16", "AVX512-BF16"),
        ("amx", "AVX512_CORE_AMX", "AMX"),
        ("avx512_bf16", "AVX512_CORE_AMX", "AVX512-BF16"),
    ],
)
def test_who_computes_bfloat16(
    kind: str, limit: str | None, native: str, machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(kind)
    if limit:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert processor.bfloat16("cpu") == native
    config = auto()
    wanted = "bfloat16" if native else "float32"
    assert (config.train.autocast, config.eval.autocast) == (wanted, wanted)


def test_a_machine_without_that_file_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "none")
    assert processor.bfloat16("cpu") == ""


def test_auto_is_the_default_of_the_short_scales_and_names_weights_as_a_word_does(machine) -> None:
    machine("avx2")
    for scale in ("cpu", "wide", "fast"):
        words = (f"scale={scale}", "device=cpu", "dataset=cifar10")
        left, told = composed(words), composed([*words, "scale.autocast=float32"])
        assert left.autocast_auto == ["train", "eval"]
        assert told.autocast_auto == []
        assert cfg.train_config_hash(left) == cfg.train_config_hash(told)
        assert cfg.train_config_hash(left) != cfg.train_config_hash(
            composed([*words, "scale.autocast=bfloat16"])
        )


@pytest.mark.parametrize(
    ("kind", "words", "line"),
    [
        ("amx", (), "train.autocast=bfloat16 and eval.autocast=bfloat16 (computed by AMX)"),
        (
            "avx2",
            (),
            "train.autocast=float32 and eval.autocast=float32 (this processor emulates bfloat16)",
        ),
        ("avx2", ("scale.autocast=float32",), "train.autocast=float32 and eval.autocast=float32"),
        (
            "avx2",
            ("train.autocast=bfloat16",),
            "train.autocast=bfloat16 and eval.autocast=float32: this processor emulates bfloat16, "
            "about 12 times slower than float32; take scale.autocast=auto or float32",
        ),
    ],
)
def test_one_line_says_which_and_what_it_costs(
    kind: str, words: tuple[str, ...], line: str, machine
) -> None:
    machine(kind)
    assert cfg.told(auto(*words)) == line


def test_the_line_is_printed_once_for_all_jobs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        run._tell("a precision of this test alone")
    assert caplog.messages == ["a precision of this test alone"]


def test_a_training_goes_on_in_the_precision_in_which_it_was_begun(tmp_path: Path, machine) -> None:
    words = (*SMALL, f"paths.runs={tmp_path}")
    machine("amx")
    begun = plan(auto(*words))
    begun.checkpoint.parent.mkdir(parents=True)
    begun.checkpoint.write_bytes(b"that it is there is enough")
    machine("avx2")
    assert auto(*words).train.autocast == "float32"
    resumed = plan(auto(*words))
    assert resumed.checkpoint == begun.checkpoint
    assert (resumed.config.train.autocast, resumed.config.eval.autocast) == ("bfloat16", "float32")
    assert plan(auto(*words, "train.autocast=float32")).checkpoint != begun.checkpoint
    other = plan(auto(*words, "seed=1"))
    assert other.config.train.autocast == "float32"


def test_rows_of_two_precisions_are_of_different_protocols_and_say_so(machine) -> None:
    machine("amx")
    one = auto("attack=[fgsm]")
    machine("avx2")
    other = auto("attack=[fgsm]")
    assert eval_config_hash(one, attacks(one)[0]) != eval_config_hash(other, attacks(other)[0])


@pytest.mark.parametrize("place", ["runs/rows", "results/cpu/rows"])
def test_a_table_is_rendered_in_the_precision_of_its_rows(
    place: str, tmp_path: Path, machine
) -> None:
    words = [
        *("scale=cpu", "device=cpu", "attack=[fgsm]", "eval.epsilon=[8]"),
        *(f"paths.runs={tmp_path / 'runs'}", f"paths.results={tmp_path / 'results'}"),
    ]
    machine("amx")
    made = laid("table1", words)
    column = made.columns[0]
    kept = row(recipe=column.recipe, protocol=next(iter(column.protocols)), scale="cpu")
    store.append(tmp_path / place / "a.jsonl", kept)
    machine("avx2")
    again = laid("table1", words)
    assert again.takes(kept)
    assert again.config.train.autocast == "bfloat16"
    named = laid("table1", [*words, "scale.autocast=float32"])
    assert not named.takes(kept)
