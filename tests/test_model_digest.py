"""The cache of `evaluate` and `audit` gives a model its own results, and no other's."""

import copy
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import defensive_tensorization as dt
from defensive_tensorization import sketching
from defensive_tensorization.auditing import evaluation
from defensive_tensorization.auditing.model_digest import NoDigest, model_digest, tensor_digest


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 10)).eval()


def data() -> tuple[Tensor, Tensor]:
    """Labels as the dense network gives them."""
    x = torch.rand(40, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    return x, network()(x).argmax(1)


def tensorized(theta: float, **settings: Any) -> nn.Module:
    return dt.tensorize(network(), theta=theta, **settings)


@dataclass
class Settings:
    scale: float = 1.0
    parts: list[float] = field(default_factory=list)


class Holder(nn.Module):
    """Adds what it holds in attributes to the input, seen or not by torch."""

    def __init__(self, **held: Any) -> None:
        super().__init__()
        self.network = network()
        for name, value in held.items():
            setattr(self, name, value)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        for each in (getattr(self, "shifts", []), getattr(self, "table", {}).values()):
            x = x + sum(each)
        return self.network(x + getattr(self, "shift", 0))  # type: ignore[no-any-return]


def steep(shape: tuple[int, ...] = (3, 6, 6)) -> Tensor:
    return torch.linspace(-9, 9, 6).expand(shape).contiguous()


PAIRS: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "theta": (lambda: tensorized(0.95), lambda: tensorized(0.5)),
    "modes": (lambda: tensorized(0.5), lambda: tensorized(0.5, modes=(0,))),
    "min_keep": (lambda: tensorized(0.5), lambda: tensorized(0.5, min_keep=7)),
    "a list": (lambda: Holder(shifts=[0.0]), lambda: Holder(shifts=[steep()])),
    "a dict": (lambda: Holder(table={"a": 0.0}), lambda: Holder(table={"a": steep()})),
    "an unregistered tensor": (
        lambda: Holder(shift=torch.zeros(3, 6, 6)),
        lambda: Holder(shift=steep()),
    ),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_cache_keeps_models_apart_that_differ_in(pair: str, tmp_path: Path) -> None:
    for make in PAIRS[pair]:
        alone = dt.evaluate(make(), data(), samples=9)
        cached = dt.evaluate(make(), data(), samples=9, cache=tmp_path)
        assert cached.clean.answers.correct.tolist() == alone.clean.answers.correct.tolist()
    one, other = (model_digest(make()) for make in PAIRS[pair])
    assert one != other


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("rescale", tensorized(0.5), tensorized(0.5, rescale=True)),
        ("a dataclass", Holder(a=Settings()), Holder(a=Settings(parts=[1.0]))),
        ("an array", Holder(a=steep().numpy()), Holder(a=-steep().numpy())),
        ("a set", Holder(a={"b", "c"}), Holder(a={"b"})),
        ("a library's function", Holder(a=F.relu), Holder(a=F.gelu)),
        ("a class", Holder(a=nn.ReLU), Holder(a=nn.GELU)),
        ("a module in a list", Holder(a=[network(0)]), Holder(a=[network(1)])),
        ("scripted code", torch.jit.script(nn.ReLU()), torch.jit.script(nn.Tanh())),
        ("mode", network(), network().train()),
        ("order", nn.Sequential(nn.ReLU(), nn.Tanh()), nn.Sequential(nn.Tanh(), nn.ReLU())),
    ],
)
def test_a_digest_depends_on(name: str, one: nn.Module, other: nn.Module) -> None:
    assert model_digest(one) == model_digest(one) != model_digest(other)


def test_a_shared_layer_is_not_two_equal_layers_in_another_place() -> None:
    a, b = nn.Linear(3, 3), nn.Linear(3, 3)
    assert model_digest(nn.Sequential(a, b, a)) != model_digest(nn.Sequential(a, b, b))


CONTEXTS: dict[str, Callable[[nn.Module], Any]] = {
    "live": lambda model: nullcontext(),
    "disabled": sketching.disabled,
    "frozen": lambda model: sketching.frozen(model, seed=1),
    "frozen by another seed": lambda model: sketching.frozen(model, seed=2),
    "draws_per_batch": lambda model: sketching.draws_per_batch(model, 2),
    "per_sample": sketching.per_sample,
    "autocast": lambda model: torch.autocast("cpu", torch.bfloat16),
}


def test_a_cache_keeps_the_contexts_apart(tmp_path: Path) -> None:
    model = tensorized(0.5)
    digests = set()
    for name, opened in CONTEXTS.items():
        with opened(model):
            alone = dt.evaluate(model, data(), samples=9)
            cached = dt.evaluate(model, data(), samples=9, cache=tmp_path)
            digests.add(model_digest(model))
        assert cached.clean.answers.correct.tolist() == alone.clean.answers.correct.tolist(), name
    assert len(digests) == len(CONTEXTS)
    found = dt.evaluate(model, data(), samples=9, cache=tmp_path)
    with sketching.disabled(model):
        assert dt.evaluate(model, data(), cache=tmp_path).accuracy == 1.0  # its labels
    assert found.accuracy < 0.9


def test_an_audit_under_a_context_is_not_that_of_the_live_model(tmp_path: Path) -> None:
    model, given = tensorized(0.5), {"epsilon": 0.02, "steps": 2, "queries": 2, "samples": 2}
    live = dt.audit(model, data(), cache=tmp_path, **given)
    with sketching.disabled(model):
        cached = dt.audit(model, data(), cache=tmp_path, **given)
        alone = dt.audit(model, data(), **given)
    assert cached.result["attacks"] == alone.result["attacks"] != live.result["attacks"]


def test_the_derivative_of_sgn_in_force_is_a_part_of_the_key() -> None:
    model = dt.binarize(network(), exclude=[])
    plain = model_digest(model)
    with dt.xnor.sign_gradient("tanh"):
        assert model_digest(model) != plain
    assert model_digest(model) == plain


class Scaled(nn.Module):
    scale = 1.0

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


@pytest.mark.parametrize("name", ["scale", "later"])
def test_what_a_class_is_given_at_run_time_counts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Sequential(Scaled(), network()).eval()
    before = dt.evaluate(model, data(), cache=tmp_path)
    digest = model_digest(model)
    monkeypatch.setattr(Scaled, name, -1.0, raising=False)
    assert model_digest(model) != digest
    if name == "scale":
        assert dt.evaluate(model, data(), cache=tmp_path).accuracy < before.accuracy


@pytest.mark.parametrize("kind", [Scaled, nn.ReLU])
def test_a_method_that_a_class_is_given_at_run_time_is_not_compared(
    kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = nn.Sequential(kind())
    model_digest(model)
    monkeypatch.setattr(kind, "forward", lambda self, x: -x)
    with pytest.raises(NoDigest, match="has a method from elsewhere"):
        model_digest(model)


class Opaque:
    def __init__(self) -> None:
        self.state = 1


def hooked() -> nn.Module:
    model = network()
    model[1].register_forward_hook(lambda _, __, out: out * 0)
    return model


def patched() -> nn.Module:
    model = network()
    model[1].forward = lambda x: x  # type: ignore[method-assign]
    return model


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (hooked, "model.1 has a hook"),
        (patched, "model.1.forward is a function"),
        (lambda: Holder(made=lambda x: x), "model.made is a function"),
        (lambda: Holder(made=[Opaque()]), "model.made[0] is of the class Opaque"),
    ],
)
def test_what_cannot_be_compared_is_named_once_and_not_cached(
    make: Callable[[], nn.Module], said: str, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning) as caught:
        dt.evaluate(make(), data(), cache=tmp_path)
        dt.audit(make(), data(), epsilon=0.02, steps=1, queries=1, images=4, cache=tmp_path)
    found = [str(each.message) for each in caught if "is not used" in str(each.message)]
    assert len(found) == 2 and all(said in text and "\n" not in text for text in found)
    assert not [*tmp_path.iterdir()]
    with pytest.raises(NoDigest, match="remove it from the model"):
        model_digest(make())


def test_recorded_draws_are_made_and_not_read(tmp_path: Path) -> None:
    model = tensorized(0.5)
    dt.evaluate(model, data(), samples=9, cache=tmp_path)
    with sketching.record(model) as ledger, pytest.warns(UserWarning, match="record"):
        dt.evaluate(model, data(), samples=9, cache=tmp_path)
    assert all(ledger.draws.values())


def test_an_equal_model_finds_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tensorized(0.5)
    first = dt.evaluate(model, data(), samples=9, cache=tmp_path)
    monkeypatch.setattr(evaluation._Run, "_measured", None)  # nothing is measured again
    model(data()[0])
    for again in (model, copy.deepcopy(model), tensorized(0.5)):
        found = dt.evaluate(again, data(), samples=9, cache=tmp_path)
        assert found.clean.answers.correct.tolist() == first.clean.answers.correct.tolist()


def test_two_equal_attacks_in_a_call_are_two_runs_with_a_cache_too(tmp_path: Path) -> None:
    attacks = [dt.attacks.pgd(epsilon=0.02, steps=1)] * 2
    model = tensorized(0.5)
    alone = dt.evaluate(model, data(), attacks, samples=9)
    cached = dt.evaluate(model, data(), attacks, samples=9, cache=tmp_path)
    for name in ("pgd", "pgd #2"):
        assert cached[name].correct.tolist() == alone[name].correct.tolist()


NETWORKS = Path(__file__).resolve().parents[1] / "results/cpu/networks"
SCRIPT = """
import sys, torch, defensive_tensorization as dt
from defensive_tensorization.auditing.model_digest import model_digest
print(*(model_digest(dt.load(name)) for name in sys.argv[1:]))
"""


def test_released_networks_have_the_same_digest_in_another_process() -> None:
    group = NETWORKS / "cifar10-resnet18-w16"
    kinds = ("theta-0.9", "xnor-theta-0.99", "defensive_dropout", "quantization")
    names = [str(group / kind) for kind in kinds]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        here = [model_digest(dt.load(name)) for name in names]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *names], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == here and len({*here}) == len(kinds)


def test_a_tensor_s_digest_is_of_its_values_and_not_of_how_they_lie() -> None:
    made = torch.complex(torch.rand(3), torch.rand(3))
    assert tensor_digest(made.conj()) == tensor_digest(made.conj().resolve_conj())
    assert tensor_digest(made.conj()) != tensor_digest(made)
    assert tensor_digest(torch.ones(2)) != tensor_digest(torch.ones(2).double())
