"""What people hang on a layer goes with it, or the layer is refused by name and nothing changes."""

import copy
import functools
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune, spectral_norm, weight_norm

import defensive_tensorization as dt
from defensive_tensorization import sketching
from defensive_tensorization.errors import UsageError

KINDS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Conv1d": (lambda: nn.Conv1d(4, 4, 3, padding=1), (2, 4, 6)),
    "Conv2d": (lambda: nn.Conv2d(4, 4, 3, padding="same", padding_mode="circular"), (2, 4, 5, 6)),
    "Conv3d": (lambda: nn.Conv3d(4, 4, (1, 3, 3), padding=(0, 1, 1), groups=2), (2, 4, 3, 5, 4)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(4, 4, 3, padding=1), (2, 4, 6)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(4, 4, 3, padding=1, groups=2), (2, 4, 5, 6)),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(4, 4, 3, padding=1), (2, 4, 3, 4, 3)),
    "Linear": (lambda: nn.Linear(4, 4), (2, 3, 4)),
}


class Holder(nn.Module):
    """Two layers of a kind; `last` is never touched, `first` has things hung on it."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.first, self.last = make(), make()

    def forward(self, x: Tensor) -> Tensor:
        kept = self.__dict__.get("plain")
        first = self.first if kept is None else kept() if callable_ref(kept) else kept[0]
        return self.last(torch.relu(first(x)))


def callable_ref(kept: Any) -> bool:
    return callable(kept) and not isinstance(kept, nn.Module)


def scaled(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    return 2 * output


def doubled_input(module: nn.Module, args: Any) -> Any:
    return (2 * args[0],)


def clamped(module: nn.Module, args: Any) -> None:
    module.weight.data.clamp_(-0.1, 0.1)


def clamped_all(module: nn.Module, args: Any) -> None:
    with torch.no_grad():
        for p in module.parameters():
            p.clamp_(-0.1, 0.1)


class Halved(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def tie(model: Holder) -> None:
    model.last.weight = model.first.weight


def alias(model: Holder) -> None:
    model.last.weight = nn.Parameter(model.first.weight.data)


def in_list(model: Holder) -> None:
    model.__dict__["plain"] = [model.first]


def in_tuple(model: Holder) -> None:
    model.__dict__["plain"] = (model.first,)


def in_closure(model: Holder) -> None:
    layer = model.first
    model.__dict__["plain"] = lambda: layer


def weight_in_list(model: Holder) -> None:
    model.__dict__["penalized"] = [model.first.weight]


def tied_outside_the_layers(model: Holder) -> None:
    model.free = model.first.weight


def own_forward(model: Holder) -> None:
    old = model.first.forward
    model.first.forward = lambda x: -old(x)  # type: ignore[method-assign]


def on_first(change: Callable[[Any], Any]) -> Callable[[Holder], None]:
    def hang(model: Holder) -> None:
        change(model.first)

    return hang


MOVED: dict[str, Callable[[Holder], None]] = {
    "forward hook": on_first(lambda m: m.register_forward_hook(scaled)),
    "forward hook, partial": on_first(lambda m: m.register_forward_hook(partial(scaled))),
    "pre-hook": on_first(lambda m: m.register_forward_pre_hook(doubled_input)),
    "with keywords": on_first(
        lambda m: m.register_forward_hook(lambda m, a, k, y: 3 * y, with_kwargs=True)
    ),
    "buffer": on_first(lambda m: m.register_buffer("scale", torch.ones(3))),
    "buffer, not kept": on_first(lambda m: m.register_buffer("b", torch.ones(3), persistent=False)),
    "parameter": on_first(lambda m: m.register_parameter("gain", nn.Parameter(torch.ones(2)))),
    "submodule": on_first(lambda m: m.add_module("adapter", nn.BatchNorm1d(2))),
    "attribute": on_first(lambda m: setattr(m, "tag", "stem")),
    "frozen": on_first(lambda m: m.requires_grad_(False)),
    "frozen weight": on_first(lambda m: m.weight.requires_grad_(False)),
    "mode": on_first(lambda m: m.eval()),
    "double": lambda model: model.double(),  # type: ignore[dict-item, return-value]
    "marked parameter": on_first(lambda m: setattr(m.weight, "decay", 0.0)),
    "tied": tie,
    "plain list": in_list,
}
REFUSED: dict[str, Callable[[Holder], None]] = {
    "clamping hook": on_first(lambda m: m.register_forward_pre_hook(clamped)),
    "clamping hook, all": on_first(lambda m: m.register_forward_pre_hook(clamped_all)),
    "state dict hook": on_first(lambda m: m.register_state_dict_post_hook(lambda *a: None)),
    "load hook": on_first(lambda m: m.register_load_state_dict_post_hook(lambda *a: None)),
    "gradient hook": on_first(lambda m: m.weight.register_hook(lambda g: 2 * g)),
    "accumulation hook": on_first(
        lambda m: m.weight.register_post_accumulate_grad_hook(lambda p: None)
    ),
    "memory shared": alias,
    "tuple": in_tuple,
    "closure": in_closure,
    "weight in a list": weight_in_list,
    "tied outside": tied_outside_the_layers,
    "not finite": on_first(lambda m: m.weight.data.view(-1)[:1].fill_(float("inf"))),
    "name taken": on_first(lambda m: setattr(m, "shared_draws", 1)),
}
LEFT: dict[str, Callable[[Holder], None]] = {
    "weight_norm": on_first(weight_norm),
    "spectral_norm": on_first(spectral_norm),
    "parametrized": on_first(lambda m: parametrize.register_parametrization(m, "weight", Halved())),
    "pruned": on_first(lambda m: prune.l1_unstructured(m, "weight", 0.5)),
    "pruned bias": on_first(lambda m: prune.l1_unstructured(m, "bias", 0.5)),
    "forward": own_forward,
}


def made(kind: str, hang: Callable[[Holder], None]) -> tuple[Holder, Tensor]:
    torch.manual_seed(0)
    make, shape = KINDS[kind]
    model = Holder(make)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hang(model)
    return model, torch.randn(shape, dtype=model.last.weight.dtype)


@pytest.mark.parametrize("kind", KINDS)
def test_what_can_be_moved_is(kind: str) -> None:
    for what, hang in MOVED.items():
        model, x = made(kind, hang)
        expected, before = model(x).detach(), model.first
        names = {n for n, _ in before.named_buffers()} | {n for n, _ in before.named_children()}
        grads = {n: p.requires_grad for n, p in before.named_parameters()}
        trains, attributes = (
            before.training,
            {k: vars(before)[k] for k in ("tag",) if k in vars(before)},
        )
        dt.tensorize(model, theta=0.7, include=["first", "last"])
        layer = model.first
        assert layer is not before, what
        with sketching.disabled(model):
            torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5, msg=what)
        assert layer.weight.requires_grad == grads.pop("weight"), what
        now = {n: p.requires_grad for n, p in layer.named_parameters()}
        assert all(now[n] == flag for n, flag in grads.items()), what
        present = {n for n, _ in layer.named_buffers()} | {n for n, _ in layer.named_children()}
        assert names <= present and layer.training == trains, what
        assert all(getattr(layer, k) == v for k, v in attributes.items())
        if what == "marked parameter":
            assert all(p.decay == 0.0 for p in layer.weight.parameters())
        if what == "tied":
            assert model.last.weight is layer.weight
        dt.detensorize(model)
        torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5, msg=what)
        assert (model.first.weight is model.last.weight) == (what == "tied")
        assert type(model.first) is type(KINDS[kind][0]())


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_moved_is_refused_and_nothing_changes(kind: str) -> None:
    for what, hang in REFUSED.items():
        model, _ = made(kind, hang)
        modules = list(model.modules())
        values = [(id(p), p.detach().clone(), p.requires_grad) for p in model.parameters()]
        before = [{**vars(m), "_modules": dict(m._modules)} for m in modules]
        with pytest.raises(ValueError, match="layer '(first|last)'.*exclude=") as refusal:
            dt.tensorize(model, theta=0.7, include=["*"])
        assert "\n" not in str(refusal.value), what
        assert list(model.modules()) == modules, what
        for module, was in zip(modules, before, strict=True):
            assert vars(module).keys() == was.keys(), what
        for p, (key, value, flag) in zip(model.parameters(), values, strict=True):
            assert id(p) == key and p.requires_grad == flag, what
            assert torch.equal(p.detach().nan_to_num(), value.nan_to_num()), what


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_something_computes_stay_and_are_named(kind: str) -> None:
    for what, hang in LEFT.items():
        if "spectral" in what and "Transpose" in kind:
            continue  # torch itself warns there
        model, x = made(kind, hang)
        expected = model.eval()(x).detach()
        first = model.first
        with pytest.warns(UserWarning, match="layer 'first'"):
            dt.tensorize(model, theta=0.7, include=["*st"])
        assert model.first is first, what
        assert [each.name for each in model.tensorization.left] == ["first"]
        assert "left dense: layer 'first'" in str(model.tensorization)
        with sketching.disabled(model):
            torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5, msg=what)
        model, _ = made(kind, hang)
        with pytest.raises(ValueError, match="layer 'first'"):
            dt.tensorize(model, theta=0.7, include=["first"])


@pytest.mark.parametrize("kind", [k for k in KINDS if "Transpose" not in k and k != "Conv2d"])
def test_binary_layers_take_the_same_along(kind: str) -> None:
    for what, hang in (MOVED | LEFT).items():
        model, x = made(kind, hang)
        parameters = {id(p) for p in model.parameters()}
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            dt.binarize(model, exclude=[])
        assert {id(p) for p in model.parameters()} == parameters, what
        left = what in LEFT
        assert bool(told) == left == bool(model.binarization.left), what
        if what in ("forward hook", "pre-hook"):
            bare, _ = made(kind, lambda model: None)
            bare = dt.binarize(bare, exclude=[])
            inner = 2 * x if what == "pre-hook" else x
            y = bare.first(inner)
            torch.testing.assert_close(model.first(x), 2 * y if what == "forward hook" else y)


stem = nn.Conv2d(3, 4, 3)
stems = (nn.Conv2d(3, 4, 3), stem)


def through_stem(x: Tensor) -> Tensor:
    return stem(x)  # type: ignore[no-any-return]


class Named(nn.Module):
    """Names a module's global as its own layer, and uses its own."""

    shared = stem

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = stem, nn.Conv2d(4, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stem(x))  # type: ignore[no-any-return]


class InForward(Named):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(stem(x))  # type: ignore[no-any-return]


class InLambda(Named):
    def forward(self, x: Tensor) -> Tensor:
        return self.head((lambda: stem(x))())  # type: ignore[no-any-return]


class InTuple(Named):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(stems[1](x))  # type: ignore[no-any-return]


class InFunction(Named):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(through_stem(x))  # type: ignore[no-any-return]


class InMethod(Named):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))  # type: ignore[no-any-return]

    def features(self, x: Tensor) -> Tensor:
        return self.own(x)  # type: ignore[no-any-return]

    @property
    def own(self) -> nn.Module:
        return stem


class InClass(Named):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.shared(x))  # type: ignore[no-any-return]


class InDecorated(Named):
    @torch.enable_grad()
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.shared(x))  # type: ignore[no-any-return]


PAST_ATTRIBUTES = [InForward, InLambda, InTuple, InFunction, InMethod, InClass, InDecorated]


@pytest.mark.parametrize("kind", PAST_ATTRIBUTES)
@pytest.mark.parametrize("change", ["tensorize", "binarize"])
def test_a_layer_that_code_reaches_past_the_attributes_is_refused(kind: type, change: str) -> None:
    model = nn.Sequential(kind())
    with pytest.raises(UsageError, match=r"layer '0\.stem' is also held through .*'0\.") as why:
        if change == "tensorize":
            dt.tensorize(model, theta=0.5)
        else:
            dt.binarize(model, exclude=[])
    assert "\n" not in str(why.value) and model[0].stem is stem
    dt.tensorize(model, theta=0.5, exclude=["0.stem"])


@pytest.mark.filterwarnings("ignore:.*outside this model")  # those of the test above
def test_a_global_that_the_forward_does_not_use_is_no_reason_to_refuse() -> None:
    model, x = Named(), torch.rand(1, 3, 8, 8)
    expected = model(x)
    model = dt.tensorize(model, theta=1.0)
    assert type(model.stem).__name__ == "TuckerConv2d" and type(stem) is nn.Conv2d
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)


class Plain(nn.Module):
    """Calls its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.other = nn.Linear(4, 4), nn.Linear(4, 4)
        self.delta = nn.Parameter(torch.zeros(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        base, other = self.base, self.other
        return other(base(x))  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> Any:
        return super().train(mode)

    def func(self) -> None:
        """As the attribute of a functools.partial is called."""


class InTheWeightsDtype(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return self.other(self.base(x.to(self.base.weight.dtype)))  # type: ignore[no-any-return]


class ByLocalName(Plain):
    def forward(self, x: Tensor) -> Tensor:
        w = self.base
        return self.other(F.linear(x, w.weight + self.delta, w.bias))  # type: ignore[no-any-return]


class ByEitherName(Plain):
    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            w = self.base
        else:
            w = nn.Linear(4, 4)
        return self.other(F.linear(x, w.weight))  # type: ignore[no-any-return]


class ByWalrus(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, (w := self.base).weight, w.bias)


class WithoutGradients(Plain):
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.base.weight + self.delta)


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return function(*args)

    return call


class Wrapped(Plain):
    @wrapped
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.base.weight + self.delta)


class ByLambda(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return (lambda: F.linear(x, self.base.weight))()


class ByLambdaOfLocal(Plain):
    def forward(self, x: Tensor) -> Tensor:
        w = self.base
        return (lambda: F.linear(x, w.weight))()


class ByInnerFunction(Plain):
    def forward(self, x: Tensor) -> Tensor:
        def linear() -> Tensor:
            return F.linear(x, self.base.weight)

        return linear()


class ByProperty(Plain):
    @property
    def merged(self) -> Tensor:
        return self.base.weight + self.delta

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.merged)


class OnTheObject(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.linear = lambda x: F.linear(x, self.base.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


RAW = [
    *(ByLocalName, ByEitherName, ByWalrus, WithoutGradients, Wrapped, ByLambda, ByLambdaOfLocal),
    *(ByInnerFunction, ByProperty, OnTheObject),
]


@pytest.mark.parametrize("kind", RAW)
def test_a_layer_whose_weight_the_parent_reads_is_not_called_binary(kind: type) -> None:
    model = nn.Sequential(kind(), nn.Linear(4, 4))
    with pytest.warns(UserWarning, match=f"'0.base' has a parent, {kind.__name__}, that reads its"):
        dt.binarize(model, exclude=[])
    assert model.binarization.layers == ("0.other", "1")
    assert type(model[0].base) is nn.Linear


@pytest.mark.parametrize("kind", [Plain, InTheWeightsDtype])
def test_a_parent_that_calls_its_layers_keeps_none_of_them_real(kind: type) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = dt.binarize(kind(), exclude=[])
    assert model.binarization.layers == ("base", "other")
    assert model(torch.rand(2, 4)).shape == (2, 4)


def test_handles_go_on_removing_hooks() -> None:
    model, x = made("Conv2d", lambda model: None)
    expected = model(x)
    handle = model.first.register_forward_hook(scaled)
    dt.tensorize(model, theta=1.0)
    handle.remove()
    torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-5)


def test_a_full_backward_hook_sees_the_gradients_of_the_dense_layer() -> None:
    seen: list[Tensor] = []
    model, x = made("Conv2d", lambda model: None)
    model.first.register_full_backward_hook(lambda m, gi, go: seen.extend((gi[0], go[0])))
    x.requires_grad_()
    model(x).square().sum().backward()
    dt.tensorize(model, theta=1.0)
    model(x).square().sum().backward()
    for old, new in zip(seen[:2], seen[2:], strict=True):
        torch.testing.assert_close(new, old, rtol=1e-4, atol=1e-5)


def test_subclasses_with_the_plain_forward_are_replaced() -> None:
    class Same(nn.Conv2d):
        levels = 3

        @staticmethod
        def stride_of(step: int) -> int:
            return 2 * step

    class Standardized(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)

    class Extended(nn.Conv2d):
        def twice(self, x: Tensor) -> Tensor:
            return self(x) + self(x)

    net = nn.Sequential(Same(3, 3, 3), Standardized(3, 3, 3), Extended(3, 3, 3))
    x = torch.randn(1, 3, 9, 9)
    expected = net(x)
    with pytest.warns(UserWarning, match="left 2.*'1' is a Standardized.*forward.*'2'.*twice"):
        dt.tensorize(net, theta=0.9)
    assert net[0].levels == 3 and net[0].stride_of(2) == 4
    with sketching.disabled(net):
        torch.testing.assert_close(net(x), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="no layer to tensorize.*layer '0' is a Standardized"):
        dt.tensorize(nn.Sequential(Standardized(3, 3, 3)), theta=0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dt.tensorize(nn.Sequential(Same(3, 3, 3), Extended(3, 3, 3)), theta=0.9, exclude=["1"])


def test_optimizers_and_other_models_that_hold_the_old_weights_are_told_of() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 3))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    other = nn.Sequential(net[0], nn.ReLU())
    with pytest.warns(UserWarning, match="Sequential, outside.*layer '0'.*SGD"):
        dt.tensorize(net, theta=0.9)
    assert isinstance(other[0], nn.Conv2d) and optimizer.param_groups
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        later = torch.optim.SGD(net.parameters(), lr=0.1)
        dt.tensorize(nn.Sequential(nn.Conv2d(3, 3, 3)), theta=0.9)
    del later


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_has_every_attribute_of_the_dense_one(kind: str) -> None:
    dense = KINDS[kind][0]()
    layer = dt.tensorize(nn.Sequential(copy.deepcopy(dense)), theta=0.9, include=["*"])[0]
    for name in (set(vars(dense)) | set(dense.__constants__)) - set(vars(nn.Module())):
        assert getattr(layer, name) == getattr(dense, name), name
    for name in ("shape", "dtype", "device", "ndim", "requires_grad", "is_cuda", "layout"):
        assert getattr(layer.weight, name) == getattr(dense.weight, name), name
    assert layer.weight.size(0) == dense.weight.size(0)
    assert layer.weight.numel() == dense.weight.numel()
    torch.manual_seed(3)
    layer.reset_parameters()
    torch.manual_seed(3)
    dense.reset_parameters()
    torch.testing.assert_close(layer.dense().weight, dense.weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.bias, dense.bias)


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_takes_the_arguments_of_the_dense_one_by_name(kind: str) -> None:
    make, shape = KINDS[kind]
    dense, x = make(), torch.rand(shape)
    layer = dt.tensorize(copy.deepcopy(dense), theta=1.0, include=["*"])
    torch.testing.assert_close(layer(input=x), dense(input=x), rtol=1e-4, atol=1e-5)
    if kind in ("Conv1d", "Conv3d", "Linear"):
        binary = dt.binarize(layer, exclude=[])
        torch.testing.assert_close(binary(input=x), binary(x))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_transposed_layer_takes_the_size_of_the_output(d: int, groups: int) -> None:
    dense: Any = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[d - 1](
        4, 4, 3, stride=3, padding=1, dilation=2, groups=groups
    )
    layer: Any = dt.tensorize(copy.deepcopy(dense), theta=1.0)
    x = torch.rand(2, 4, *(3, 4, 5)[:d])
    least = dense(x).shape[2:]
    for size in (least, [n + 1 for n in least], [2, 4, *(n + 2 for n in least)]):
        expected = dense(x, output_size=size)
        assert list(expected.shape[2:]) == list(size)[-d:]
        torch.testing.assert_close(layer(x, output_size=size), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(layer(x, size), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(layer(x[0], size[-d:]), expected[0], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="requested an output size"):
        layer(x, output_size=[n + 3 for n in least])


def test_each_example_s_draw_has_the_size_of_the_output_too() -> None:
    dense = nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1)
    layer: Any = dt.tensorize(dense, theta=0.6)
    x = torch.rand(4, 4, 3, 3)
    for parts in (4, 2):
        with sketching.record(layer) as ledger, sketching.draws_per_batch(layer, parts):
            found = layer(x, output_size=(6, 6))
        with sketching.replay(layer, ledger), sketching.draws_per_batch(layer, parts):
            torch.testing.assert_close(found[..., :5, :5], layer(x), rtol=1e-4, atol=1e-5)
        assert found.shape == (4, 4, 6, 6)


READ: dict[str, Callable[[Tensor], Any]] = {
    "2 w": lambda w: 2 * w,
    "w w": lambda w: w * w,
    "w / |w|": lambda w: w / w.norm(),
    "w - mean": lambda w: w - w.mean(1, keepdim=True),
    "2 - w": lambda w: 2 - w,
    "-w": lambda w: -w,
    "w ** 2": lambda w: (w**2).sum(),
    "abs": abs,
    "view": lambda w: w.view(len(w), -1) @ torch.ones(w.numel() // len(w)).to(w),
    "product": lambda w: torch.ones(2, len(w)).to(w) @ w.reshape(len(w), -1),
    "slice": lambda w: w[:2, 1:],
    "rows": lambda w: torch.stack([row.sum() for row in w]),
    "where": lambda w: (w > 0).sum(),
    "flat": lambda w: w.detach().flatten(1).T,
    "cast": lambda w: w.to(torch.float64).permute(*range(w.dim())[::-1]),
    "torch's": lambda w: torch.cat([w, w]).abs().amax(),
    "strides": lambda w: torch.tensor(w.contiguous().stride()),
}
WRITTEN: dict[str, Callable[[Any], Any]] = {
    "normal_": lambda layer: layer.weight.normal_(),
    "init": lambda layer: nn.init.kaiming_normal_(layer.weight),
    "copy_": lambda layer: layer.weight.copy_(torch.ones(())),
    "data =": lambda layer: setattr(layer.weight, "data", torch.ones(4, 4)),
    "parameter": lambda layer: setattr(layer, "weight", nn.Parameter(torch.ones(4, 4))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_other_code_computes_with_the_weight(kind: str) -> None:
    dense = KINDS[kind][0]()
    weight = dense.weight.detach()
    layer = dt.tensorize(copy.deepcopy(dense), theta=0.6, include=[type(dense)])
    for read in READ.values():
        with sketching.disabled(layer):
            torch.testing.assert_close(read(layer.weight), read(weight), rtol=1e-4, atol=1e-5)
        with sketching.frozen(layer, seed=1):
            torch.testing.assert_close(read(layer.weight), read(layer.weight().contiguous()))
    for what, write in WRITTEN.items():
        with pytest.raises(ValueError, match="load_state_dict") as refusal:
            write(layer)
        assert "\n" not in str(refusal.value), what
    assert not hasattr(layer.weight, "data")  # it is there to be written into
    if kind.startswith("Conv") and "Transpose" not in kind:
        x = torch.randn(KINDS[kind][1])
        with sketching.disabled(layer):
            for scale in (1, 2):
                torch.testing.assert_close(
                    layer._conv_forward(x, scale * layer.weight, layer.bias),
                    dense._conv_forward(x, scale * dense.weight, dense.bias),
                    rtol=1e-4,
                    atol=1e-5,
                )


@pytest.mark.parametrize("kind", KINDS)
def test_a_dense_state_dict_loads(kind: str) -> None:
    model, x = made(kind, lambda model: None)
    other = Holder(KINDS[kind][0])
    state = {k: v.clone() for k, v in other.state_dict().items()}
    dt.tensorize(model, theta=0.8, include=["*"], init="random").load_state_dict(other.state_dict())
    with sketching.disabled(model):
        torch.testing.assert_close(model(x), other(x), rtol=1e-4, atol=1e-5)
    for key, value in other.state_dict().items():  # the user's own dict is not touched
        assert torch.equal(value, state[key])
    state["first.weight"] = torch.zeros(1)
    with pytest.raises(RuntimeError, match=r"first.weight: a dense kernel of shape \[1\]"):
        model.load_state_dict(state)
    state["first.weight"] = torch.full_like(other.first.weight, float("nan"))
    with pytest.raises(RuntimeError, match="first.weight.*not finite"):
        model.load_state_dict(state)
    with pytest.raises(RuntimeError, match="Missing key.*first.weight.core"):
        model.load_state_dict({})


@pytest.mark.parametrize("kind", KINDS)
def test_every_read_of_the_weight_is_a_draw_and_a_clone_or_frozen_is_one(kind: str) -> None:
    layer = dt.tensorize(KINDS[kind][0](), theta=0.5, include=["*"])
    sketching.seed(layer, 0)
    assert not all(torch.equal(layer.weight + 0, layer.weight + 0) for _ in range(20))
    kernel = layer.weight.clone()
    assert torch.equal(kernel, kernel + 0) and kernel.requires_grad
    with sketching.record(layer) as ledger:
        layer.weight.clone()
    assert [len(draws) for draws in ledger.draws.values()] == [1]
    with sketching.frozen(layer, seed=0):
        assert torch.equal(layer.weight + 0, layer.weight + 0)


def test_torchs_transformers_read_the_drawn_weights() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 8)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    encoder = nn.TransformerEncoder(copy.deepcopy(layer), 2).eval()
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    calls: dict[nn.Module, Callable[[Any], Tensor]] = {
        layer: lambda net: net(x),
        encoder: lambda net: net(x),
        attention: lambda net: net(x, x, x)[0],
    }
    for net, call in calls.items():
        with torch.no_grad():
            expected = call(net)
            dt.tensorize(net, theta=0.7, include=[nn.Linear])
            with sketching.disabled(net):
                torch.testing.assert_close(call(net), expected, rtol=1e-4, atol=1e-5)
            assert not torch.equal(call(net), call(net))
        call(net).square().sum().backward()
        assert all(p.grad is not None for p in net.parameters())
        with pytest.raises(ValueError, match="draw of its own"), sketching.per_sample(net):
            call(net)
        for each in net.modules():
            if hasattr(each, "out_proj"):
                with pytest.raises(ValueError, match="kaiming_uniform_ cannot write"):
                    nn.init.kaiming_uniform_(each.out_proj.weight)
    binary = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 8))
    with pytest.warns(UserWarning, match="reads its weight past its forward"):
        dt.binarize(binary, exclude=[])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"theta": "0.9"}, "theta must be a number"),
        ({"theta": float("nan")}, "theta must lie"),
        ({"theta": True}, "theta must be a number"),
        ({"modes": "01"}, "modes must be a list of whole numbers"),
        ({"min_dim": "3"}, "min_dim must be a whole number"),
        ({"rank": None}, "rank must be"),
        ({"init": "svd"}, "init must be"),
        ({"rescale": "no"}, "rescale must be True or False, got 'no'"),
        ({"rescale": 1}, "rescale must be True or False, got 1"),
        ({"include": 5}, "include is a list"),
        ({"include": [nn.ReLU()]}, "include holds layer names"),
        ({"exclude": nn.Conv2d}, "write \\[Conv2d\\]"),
    ],
)
def test_bad_arguments_are_one_line(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text) as refusal:
        dt.tensorize(nn.Sequential(nn.Conv2d(3, 3, 3)), **({"theta": 0.9} | options))
    assert "\n" not in str(refusal.value)


def test_bad_models_are_one_line() -> None:
    def refused(model: Any, text: str) -> None:
        for call in (partial(dt.tensorize, theta=0.9), dt.detensorize):
            with pytest.raises(ValueError, match=text):
                call(model)
        with pytest.raises(ValueError, match=text.replace("tensorize", "binarize")):
            dt.binarize(model)

    refused(None, "takes a torch.nn.Module, got NoneType")
    refused([], "takes a torch.nn.Module, got list")
    refused(nn.Sequential(), "Sequential has no layer")
    for layer, text in {
        nn.Conv2d(3, 3, 3, device="meta"): "meta device",
        nn.Conv2d(3, 3, 3).to(torch.complex64): "only real floating-point",
    }.items():
        with pytest.raises(ValueError, match=f"layer '0'.*{text}"):
            dt.tensorize(nn.Sequential(layer), theta=0.9)


SCRIPTED = {
    "script": torch.jit.script,
    "trace": lambda model: torch.jit.trace(model, torch.rand(1, 3, 8, 8)),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("made", SCRIPTED)
def test_what_torch_jit_has_compiled_is_refused_in_one_line(made: str, inner: bool) -> None:
    model = SCRIPTED[made](nn.Sequential(nn.Conv2d(3, 3, 3)))
    if inner:
        model = nn.Sequential(nn.Conv2d(3, 3, 3), model)
    where = "layer '1'" if inner else "the model"
    for call in (
        partial(dt.tensorize, theta=0.9),
        partial(dt.binarize, exclude=[]),
        dt.detensorize,
    ):
        with pytest.raises(UsageError, match=f"^{where} is a .*Module, which holds on to") as why:
            call(model)
        assert "\n" not in str(why.value)


def test_detensorize_a_binary_network() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 2, 3)).eval()
    dt.binarize(dt.tensorize(net, theta=0.7))
    x = torch.randn(2, 3, 9, 9)
    with sketching.disabled(net), torch.no_grad():
        expected = net(x)
    dt.detensorize(net)
    assert not sketching.sketches(net) and not hasattr(net, "tensorization")
    torch.testing.assert_close(net(x), expected, rtol=1e-4, atol=1e-5)
