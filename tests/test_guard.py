"""Every attack's entrance: what is handled, what is refused, and that the model stays as it was."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from defensive_tensorization import sketching, tensorize
from defensive_tensorization.attacks import Attack
from defensive_tensorization.attacks.autoattack import autoattack
from defensive_tensorization.attacks.in_units import apgd, bim, eot_pgd, fgsm, pgd, square
from defensive_tensorization.attacks.training import pgd_training, r_fgsm_training
from defensive_tensorization.errors import UsageError

U: dict[str, Any] = {"epsilon": 8, "unit": 1 / 255}
BOUNDS = (0.0, 1.0)
ATTACKS = {
    "fgsm": fgsm(**U),
    "bim": bim(**U, steps=2),
    "pgd": pgd(**U, steps=2),
    "eot_pgd": eot_pgd(**U, steps=2, draws=2),
    "apgd": apgd(**U, steps=2, draws=2),
    "square": square(**U, steps=2, draws=2),
}
TRAINING = {"pgd_training": pgd_training(unit=1 / 255), "r_fgsm": r_fgsm_training(unit=1 / 255)}
FAST = st.sampled_from([*ATTACKS])
X, Y = torch.rand(3, 2, 5, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2])


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(4)
    return nn.Sequential(
        *(nn.Conv2d(2, 4, 3), norm, nn.ReLU(), nn.Dropout(0.1)),
        *(nn.Flatten(), nn.Linear(36, 5)),
    )


def run(name: str, model: nn.Module, x: Tensor = X, y: Tensor = Y) -> Tensor:
    if name in TRAINING:
        generator = torch.Generator().manual_seed(0)
        return TRAINING[name].batch(model, model, BOUNDS, x, y, generator)[0]
    return attack_of(name)(model, x, y, BOUNDS)


def attack_of(name: str) -> Attack:
    return autoattack(**U, version=name.partition("-")[2]) if "-" in name else ATTACKS[name]


def state(model: nn.Module) -> dict[str, Any]:
    """Everything that must not change, read by torch's public names alone."""
    found: dict[str, Any] = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        gradient = None if tensor.grad is None else (id(tensor.grad), tensor.grad.tolist())
        bits = tensor.detach().clone().numpy().tobytes()
        found[name] = (id(tensor), bits, tensor.requires_grad, gradient)
    for name, module in model.named_modules():
        hooks = [(k, list(v)) for k, v in vars(module).items() if "hooks" in k and v is not None]
        found[f"{name}: module"] = (id(module), module.training, hooks)
    return found


class Meddling(nn.Module):
    """A forward that does to the model what models of others do, and then fails."""

    def __init__(self, inner: nn.Sequential, does: str, fails: BaseException | None) -> None:
        super().__init__()
        self.inner, self.does, self.fails, self.calls = inner, does, fails, 0
        self.register_buffer("count", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        conv = self.inner[0]
        assert isinstance(conv, nn.Conv2d)
        if self.does == "data":
            conv.weight.data = conv.weight.data.sign()
        elif self.does == "in place":
            with torch.no_grad():
                conv.weight.mul_(0.9)
                self.get_buffer("count").add_(1)
        elif self.does == "reassigned":
            self.count = self.get_buffer("count") + 1
        elif self.does == "modes":
            self.inner.train(not self.inner.training)
        elif self.does == "hooks":
            conv.register_forward_hook(lambda *_: None)
        elif self.does == "flags":
            conv.weight.requires_grad_(not conv.weight.requires_grad)
        elif self.does == "grad":
            conv.weight.grad = torch.ones_like(conv.weight)
        if self.fails is not None and self.calls > 1:
            raise self.fails
        logits: Tensor = self.inner(x)
        return logits


DOES = ("nothing", "data", "in place", "reassigned", "modes", "hooks", "flags", "grad")
FAILS = (None, RuntimeError("x"), KeyError("x"), KeyboardInterrupt(), SystemExit(3))


@settings(max_examples=60)
@given(
    *(st.sampled_from([*ATTACKS, *TRAINING]), st.sampled_from(DOES), st.sampled_from(FAILS)),
    *(st.booleans(), st.booleans(), st.booleans()),
)
def test_the_model_is_bit_for_bit_as_before(
    name: str, does: str, fails: BaseException | None, train: bool, grads: bool, frozen: bool
) -> None:
    model = Meddling(network().train(train), does, fails)
    model.inner[1].train(not train)  # modes are not all alike
    model.inner[5].register_forward_pre_hook(lambda *_: None)
    if grads:
        model.inner(X).sum().backward()
    model.inner[0].requires_grad_(not frozen)
    before = state(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run(name, model)
        except BaseException as error:
            assert error is fails or isinstance(error, UsageError), error
    assert state(model) == before


@pytest.mark.parametrize("version", ["rand", pytest.param("standard", marks=pytest.mark.slow)])
def test_the_model_is_as_before_autoattack(version: str) -> None:
    torch.manual_seed(0)
    stray = nn.Parameter(torch.ones(10))  # known to no module

    class Strayed(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.flatten(1)) * stray

    model = Strayed(50, 10).train()
    x = torch.rand(2, 2, 5, 5)
    y = model(x).argmax(1)
    before = state(model)
    run(f"autoattack-{version}", model, x, y)
    assert state(model) == before and stray.grad is None


@pytest.mark.parametrize("name", ATTACKS)
def test_no_gradient_is_left_even_where_no_module_knows_of_it(name: str) -> None:
    """An optimizer that steps in the backward would train the network during an attack."""
    stray, stepped = nn.Parameter(torch.ones(5)), []
    stray.register_post_accumulate_grad_hook(lambda p: stepped.append(p))

    class Strayed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :5] * stray

    run(name, Strayed().eval())
    assert stray.grad is None and not stepped


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("name", ATTACKS)
def test_the_caller_s_grad_mode_changes_nothing(name: str, mode: Callable[[], Any]) -> None:
    model = network().eval()
    torch.manual_seed(1)
    expected = run(name, model)
    with mode():
        x, y = X.clone(), Y.clone()  # inference tensors, under inference_mode
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        torch.manual_seed(1)
        found = run(name, model, x, y)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    assert torch.equal(found, expected)
    F.cross_entropy(model(found), Y).backward()  # of use outside


@settings(max_examples=25)
@given(
    FAST,
    st.sampled_from([torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool]),
    st.booleans(),
)
def test_labels_of_any_integer_type_and_inputs_that_require_gradients(
    name: str, dtype: torch.dtype, leaf: bool
) -> None:
    model, y = network().eval(), Y.clamp(max=1)
    torch.manual_seed(1)
    expected = run(name, model, X, y)
    x = X.clone().requires_grad_(leaf)
    torch.manual_seed(1)
    found = run(name, model, x, y.to(dtype))
    assert torch.equal(found, expected) and not found.requires_grad
    assert x.grad is None and x.requires_grad == leaf and torch.equal(x, X)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_empty_batch_stays_empty_and_double_stays_double(name: str) -> None:
    assert run(name, network().eval(), X[:0], Y[:0]).shape == (0, 2, 5, 5)
    made = run(name, network().eval().double(), X.double())
    assert made.dtype == torch.float64 and (made - X.double()).abs().max() <= 8 / 255 + 1e-9


def first_of(shape: str) -> nn.Module:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> Any:
            z = x.flatten(1)[:, :5]
            kinds: dict[str, Any] = {
                "column": z[:, :1],
                "flat": z[:, 0],
                "tuple": (z, z),
                "map": z[..., None, None].expand(-1, -1, 2, 2),
                "short": z[1:],
                "detached": z.detach(),
                "weights alone": z.detach() * self.scale,
                "not a number": z * torch.nan,
                "classes": z.argmax(1, keepdim=True).expand(-1, 5),
            }
            return kinds[shape]

    return Odd().eval()


BAD: list[tuple[Any, Any, Any, str]] = [
    (network(), X * 255, Y, "outside the bounds"),
    (network(), X - 0.5, Y, "put the normalisation into the model"),
    (network(), X.where(X > 0.1, torch.nan), Y, "NaN or infinity"),
    (network(), X.where(X > 0.1, torch.inf), Y, "NaN or infinity"),
    (network(), (X * 255).byte(), Y, "x.float() / 255"),
    (network(), X.double(), Y, "the inputs are float64, the model float32"),
    (network(), X, Y.float(), "take y.long()"),
    (network(), X, F.one_hot(Y, 5), "one label for each input"),
    (network(), X, Y[:2], "one label for each input"),
    (network(), X, Y + 3, "the labels reach 5, the model has 5 classes"),
    (network(), X, Y - 1, "must be at least 0, got -1"),
    (network(), X[:, :1], Y, "the model fails on inputs [3, 1, 5, 5]"),
    (network(), X.numpy(), Y, "must be a tensor, got ndarray"),
    (network(), X, [0, 1, 2], "must be a tensor, got list"),
    (lambda x: x, X, Y, "must be a torch.nn.Module, got function"),
    (nn.Sequential(nn.Flatten(), nn.LazyLinear(5)), X, Y, "call model(x) once"),
    (network().to("meta"), X.to("meta"), Y, "on a real device"),
    (network(), X.to_sparse(), Y, "take x.to_dense()"),
    (
        nn.Sequential(nn.Flatten(), nn.BatchNorm1d(50)),
        X[:1],
        Y[:1],
        "more than 1 value per channel",
    ),
    (first_of("not a number"), X, Y, "logits hold NaN"),
    (first_of("column"), X, Y, "one logit for each example"),
    (first_of("flat"), X, Y, "one logit for each example"),
    (first_of("tuple"), X, Y, "the model returns tuple"),
    (first_of("map"), X, Y, "attacks need logits [3, C]"),
    (first_of("short"), X, Y, "attacks need logits [3, C]"),
    (first_of("classes"), X, Y, "attacks need logits [3, C]"),
]


@pytest.mark.parametrize(("model", "x", "y", "text"), BAD, ids=[text for *_, text in BAD])
def test_what_no_attack_can_work_on_is_one_line(model: Any, x: Any, y: Any, text: str) -> None:
    for name in ATTACKS:
        with pytest.raises(UsageError) as caught:
            attack_of(name)(model, x, y, BOUNDS)
        assert text in str(caught.value) and "\n" not in str(caught.value), name


@pytest.mark.parametrize("shape", ["detached", "weights alone"])
@pytest.mark.parametrize("name", sorted(set(ATTACKS) - {"square"}))
def test_logits_without_a_gradient_are_one_line(name: str, shape: str) -> None:
    with pytest.raises(UsageError, match="no gradient by its inputs"):
        run(name, first_of(shape))


LEFT_EAGER: dict[str, Callable[[nn.Module], Any]] = {
    "traced": lambda net: torch.jit.trace(net, X),
    "exported": lambda net: torch.export.export(net, (X,)).module(),
    "compiled": lambda net: torch.compile(net, backend="eager"),
    "parallel": nn.DataParallel,
}


@pytest.mark.slow
@pytest.mark.parametrize("how", LEFT_EAGER)
def test_models_that_left_eager_mode(how: str) -> None:
    net = network().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = LEFT_EAGER[how](copy.deepcopy(net))
        for name in ("fgsm", "pgd", "apgd", "square"):
            torch.manual_seed(0)
            expected = run(name, net)
            torch.manual_seed(0)
            torch.testing.assert_close(run(name, other), expected)
            assert all(p.grad is None for p in other.parameters())


@pytest.mark.parametrize(
    "bounds", [(1.0, 0.0), (0.0, 0.0), (0.0, float("inf")), 1.0, (0.0,), ("0", "1"), "01"]
)
def test_bounds_that_are_none(bounds: Any) -> None:
    with pytest.raises(UsageError, match="the bounds must be"):
        fgsm(**U)(network().eval(), X, Y, bounds)


def test_a_rounding_error_is_inside() -> None:
    """As bilinear resizing leaves them: one unit in the last place above 1."""
    x = X.clone()
    x[0, 0, 0, 0] = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    for name in ATTACKS:
        assert run(name, network().eval(), x).max() <= 1


def test_one_warning_for_a_model_in_training_mode() -> None:
    model = network().train()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for name in ATTACKS:
            run(name, model)
    told = [each for each in told if each.category is not DeprecationWarning]  # Foolbox's import
    assert ["training mode" in str(each.message) for each in told] == [True]
    assert told[0].filename == __file__


def test_walks_pass_the_guard_too() -> None:
    model = tensorize(network(), theta=0.9).eval()
    attack = eot_pgd(**U, steps=3, draws=2)
    model(X).sum().backward()
    before = state(model)
    with torch.inference_mode():
        for end in attack.run_with_step_checkpoints(model, X, Y, BOUNDS, [1, 2, 3]):
            assert state(model) == before and torch.is_inference_mode_enabled()
            assert not end.is_inference()
    sketching.seed(model, 0)
    with pytest.raises(UsageError, match="outside the bounds"):
        next(attack.run_with_step_checkpoints(model, X * 2, Y, BOUNDS, [1]))
    assert [
        len(end) for end in attack.run_with_step_checkpoints(model, X[:0], Y[:0], BOUNDS, [1, 2])
    ] == [0, 0]


def test_a_small_epsilon_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("defensive_tensorization.system.epsilon._told", set())
    model = network().eval()
    with pytest.warns(UserWarning, match=r"0.031 is 0.031/255; 8/255 is written 8 or 8/255"):
        fgsm(epsilon=0.031, unit=1 / 255)(model, X, Y, BOUNDS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fgsm(epsilon=0.031, unit=1 / 255)(model, X, Y, BOUNDS)
        fgsm(epsilon=0.031, unit=1.0)(model, X, Y, BOUNDS)
        fgsm(epsilon=0, unit=1 / 255)(model, X, Y, BOUNDS)
        fgsm(epsilon=1, unit=1 / 255)(model, X, Y, BOUNDS)
    with pytest.warns(UserWarning, match="more than the whole range 0 to 1"):
        fgsm(epsilon=8, unit=1.0)(model, X, Y, BOUNDS)
