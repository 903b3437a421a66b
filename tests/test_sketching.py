"""The draw's distribution, its isolation, and the contexts that control it."""

import copy
import json
import pickle
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import combinations
from threading import Barrier, Thread
from typing import Any

import pytest
import torch
from scipy.stats import binomtest, chisquare
from torch import Tensor, nn

from defensive_tensorization import sketching, tensorize
from defensive_tensorization.errors import UsageError
from defensive_tensorization.sketching import Ledger
from defensive_tensorization.sketching.bernoulli import Sketch
from defensive_tensorization.tucker import TuckerConv2d

CPU = torch.device("cpu")
UNLIKELY = 1e-6  # seeds are fixed: a test that passes once passes always


class Layer(nn.Module):
    """Nothing but a sketch; its forward gives the masks."""

    def __init__(self, *shape: int, theta: float = 0.5, **options: Any) -> None:
        super().__init__()
        self.sketch = Sketch(shape, theta, **options)

    def forward(self, batch: int | None = None) -> Any:
        return self.sketch.draw(CPU, batch)


def pair(seed: int | None = 0) -> nn.ModuleList:
    """Two layers of one shape; 16 components: equal draws by chance are out of the question."""
    layers = nn.ModuleList([Layer(16, 16), Layer(16, 16)])
    if seed is not None:
        sketching.seed(layers, seed)
    return layers


def drawn(layers: nn.Module, batch: int | None = None) -> list[list[Any]]:
    """One forward of every layer, as plain lists."""
    return [[None if m is None else m.tolist() for m in layer(batch) or [None]] for layer in layers]


def samples(layer: Layer, mode: int, n: int) -> Tensor:
    """n draws of one mode at once, [n, size]."""
    sketching.seed(layer, 0)
    with sketching.per_sample(layer):
        masks: Tensor = layer(n)[mode]
    return masks


# --- distribution -----------------------------------------------------------------------------


@pytest.mark.parametrize("theta", [0.2, 0.8, 0.95])
@pytest.mark.parametrize("batch", [None, 100])
def test_theta_is_the_share_that_is_kept(theta: float, batch: int | None) -> None:
    layer, draws = Layer(40, 30, theta=theta, min_keep=0), 300
    sketching.seed(layer, 0)
    kept = [0, 0]
    for _ in range(draws):
        with sketching.per_sample(layer):
            masks = layer(batch)
        for mode, mask in enumerate(masks):
            assert set(mask.flatten().tolist()) <= {0.0, 1.0}
            kept[mode] += int(mask.sum())
    for mode, size in enumerate((40, 30)):
        made = draws * size * (batch or 1)
        assert binomtest(kept[mode], made, theta).pvalue > UNLIKELY


def test_components_and_modes_are_independent() -> None:
    layer, n = Layer(3, 2, theta=0.5, min_keep=0), 32_000
    sketching.seed(layer, 0)
    with sketching.per_sample(layer):
        joint = torch.cat(layer(n), dim=1)  # [n, 5]
    patterns = Counter(map(tuple, joint.tolist()))
    assert len(patterns) == 32
    assert chisquare(list(patterns.values())).pvalue > UNLIKELY


BY_HAND = [  # n, min_keep, theta, P(a component is kept)
    (3, 0, 0.1, 0.1),
    (3, 1, 0.1, 0.1 + 0.9**3 / 3),
    (3, 2, 0.1, 0.1 + (2 * 0.9**3 + 3 * 0.1 * 0.9**2) / 3),
    (3, 3, 0.1, 1.0),
    (2, 5, 0.5, 1.0),
    (4, 1, 0.8, 0.8 + 0.2**4 / 4),
]


@pytest.mark.parametrize("n, min_keep, theta, expected", BY_HAND)
def test_keep_probability(n: int, min_keep: int, theta: float, expected: float) -> None:
    layer, draws = Layer(7, n, theta=theta, min_keep=min_keep), 20_000
    assert layer.sketch.keep_probability(1) == pytest.approx(expected, abs=1e-12)
    for component in samples(layer, 1, draws).unbind(1):
        assert binomtest(int(component.sum()), draws, expected).pvalue > UNLIKELY


@pytest.mark.parametrize("n, min_keep, theta, expected", BY_HAND)
@pytest.mark.parametrize("before", [1.0, 0.9, 0.05])
def test_theta_set_later_is_theta_from_the_start(
    before: float, n: int, min_keep: int, theta: float, expected: float
) -> None:
    layer, draws = Layer(7, n, theta=before, min_keep=min_keep), 5_000
    layer.sketch.theta = theta
    masks = samples(layer, 1, draws)
    assert int(masks.sum(1).min()) >= min(min_keep, n)
    for component in masks.unbind(1):
        assert binomtest(int(component.sum()), draws, expected).pvalue > UNLIKELY
    assert torch.equal(masks, samples(Layer(7, n, theta=theta, min_keep=min_keep), 1, draws))


@pytest.mark.parametrize("theta", [0, -0.1, 1.1, float("nan"), "0.9", True])
def test_a_theta_that_cannot_be_is_refused_later_too(theta: Any) -> None:
    sketch = Sketch((8, 8), 0.9)
    with pytest.raises(UsageError, match=r"theta must lie in \(0, 1\]"):
        sketch.theta = theta
    assert sketch.theta == 0.9


def test_keep_probability_of_a_mode_left_alone() -> None:
    sketch = Sketch((8, 8, 3, 1), 0.5, modes=[0, 2, 3], min_dim=3)
    assert [sketch.keep_probability(m) for m in (1, 2, 3)] == [1, 1, 1]
    assert Sketch((8,), 1.0).keep_probability(0) == 1


@pytest.mark.parametrize("min_keep", [1, 2])
def test_min_keep_never_empties_and_survivors_are_uniform(min_keep: int) -> None:
    masks = samples(Layer(3, 8, theta=0.1, min_keep=min_keep), 0, 30_000)
    assert int(masks.sum(1).min()) == min_keep
    barely = masks[masks.sum(1) == min_keep]
    survivors = Counter(tuple(row.nonzero().flatten().tolist()) for row in barely)
    assert survivors.keys() == set(combinations(range(3), min_keep))
    assert chisquare(list(survivors.values())).pvalue > UNLIKELY


def test_without_min_keep_a_mode_empties() -> None:
    empty = int((samples(Layer(3, 8, theta=0.1, min_keep=0), 0, 10_000).sum(1) == 0).sum())
    assert binomtest(empty, 10_000, 0.9**3).pvalue > UNLIKELY


def test_theta_1_draws_nothing() -> None:
    layer = Layer(8, 8, theta=1)
    assert layer() is None
    assert not layer.sketch.random
    with sketching.frozen(layer, seed=0), sketching.record(layer) as ledger:
        layer()
    assert ledger.draws == {"": [None]}


@pytest.mark.parametrize(
    "options, sketched",
    [
        ({}, {0, 1, 2}),  # a mode of size 1 is never sketched
        ({"min_dim": 3}, {0, 1}),
        ({"min_dim": 0}, {0, 1, 2, 3}),
        ({"modes": [1, 3]}, {1}),
        ({"modes": [3]}, set()),
    ],
)
def test_modes_and_min_dim(options: dict[str, Any], sketched: set[int]) -> None:
    layer = Layer(9, 8, 3, 1, theta=0.5, **options)
    masks = layer() or [None] * 4
    assert {m for m, mask in enumerate(masks) if mask is not None} == sketched
    assert all(m is None or len(m) == n for m, n in zip(masks, (9, 8, 3, 1), strict=True))


def test_a_core_of_single_components_is_never_zeroed() -> None:
    layer = Layer(1, 1, 1, theta=0.01)
    assert all(layer() is None for _ in range(100))


# --- isolation --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, None])
def test_draws_do_not_move_the_global_generator(seed: int | None) -> None:
    before = torch.get_rng_state()
    layers = pair(seed)
    drawn(layers)
    with sketching.frozen(layers, seed=1), sketching.per_sample(layers):
        drawn(layers, 3)
    assert torch.equal(before, torch.get_rng_state())


def test_draws_do_not_read_the_global_generator() -> None:
    found = []
    for outside in (0, 0, 1):
        torch.manual_seed(outside)
        found.append(drawn(pair(0)))
        found.append(drawn(pair(None)))
    seeded, unseeded = found[::2], found[1::2]
    assert seeded[0] == seeded[1] == seeded[2]
    assert unseeded[0] != unseeded[1]  # not even an unseeded one follows torch.manual_seed


def test_seed_decides_the_draws() -> None:
    layers = pair(5)
    first = [drawn(layers) for _ in range(3)]
    assert first[0] != first[1]
    assert first[0][0] != first[0][1], "two layers share one stream"
    assert [drawn(layers) for _ in range(3)] != first
    sketching.seed(layers, 5)
    assert [drawn(layers) for _ in range(3)] == first
    sketching.seed(layers, 6)
    assert [drawn(layers) for _ in range(3)] != first


def test_streams_differ_and_fit_a_generator() -> None:
    keys = [(), (0,), (1,), (0, 1), (1, 0), ("0",), ("01",), ("0", "1"), (-1, "clean", "attack")]
    seeds = {sketching.stream(*key) for key in keys}
    assert len(seeds) == len(keys)
    for seed in seeds:
        torch.Generator().manual_seed(seed)
    assert sketching.stream(0, "init") == sketching.stream(0, "init")


def test_live_in_evaluation_and_without_gradients() -> None:
    conv = TuckerConv2d.from_conv(nn.Conv2d(8, 8, 3), 0.7).eval()
    x = torch.randn(2, 8, 5, 5)
    with torch.no_grad():
        assert not torch.equal(conv(x), conv(x))
    with torch.inference_mode():
        assert not torch.equal(conv(x), conv(x))


# --- contexts ---------------------------------------------------------------------------------


def test_a_frozen_draw_is_replayed_by_its_seed() -> None:
    layers = pair()
    with sketching.frozen(layers, seed=3):
        held = drawn(layers)
        assert [drawn(layers) for _ in range(3)] == [held] * 3
    assert held[0] != held[1]
    with sketching.frozen(layers, seed=3):
        assert drawn(layers) == held
    with sketching.frozen(layers, seed=4):
        assert drawn(layers) != held
    other = pair(99)
    with sketching.frozen(other, seed=3):
        assert drawn(other) == held, "a frozen draw depends on its own seed alone"


def test_disabled_nothing_is_drawn() -> None:
    layers = pair()
    with sketching.disabled(layers):
        assert drawn(layers) == [[None], [None]]
    assert drawn(layers) != [[None], [None]]


def test_each_sample_has_a_draw_of_its_own() -> None:
    layers = pair()
    with sketching.per_sample(layers):
        masks = layers[0](5)
        assert [tuple(m.shape) for m in masks] == [(5, 16), (5, 16)]
        assert len({tuple(row) for row in masks[0].tolist()}) == 5
        with sketching.frozen(layers, seed=0):
            assert drawn(layers, 5) == drawn(layers, 5)
    assert layers[0](5)[0].shape == (16,)


def test_each_part_of_a_batch_has_a_draw_of_its_own() -> None:
    layers = pair()
    with sketching.draws_per_batch(layers, 3):
        masks = layers[0](6)
        assert [tuple(m.shape) for m in masks] == [(6, 16), (6, 16)]
        assert all(torch.equal(m[::2], m[1::2]) for m in masks)  # two examples a part
        assert len({tuple(row) for row in masks[0].tolist()}) == 3
        sketch = layers[0].sketch
        assert sketch.draw(CPU, 6, whole=True)[0].shape == (3, 16)
        with pytest.raises(UsageError, match="7 examples have no 3 equal parts"):
            layers[0](7)
    with sketching.draws_per_batch(layers, 1):
        assert layers[0](6)[0].shape == (16,)
    with pytest.raises(UsageError, match="at least one part, got 0"):
        sketching.draws_per_batch(layers, 0)


LAYERS_AND_EMPTY_BATCHES: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (lambda: nn.Conv2d(4, 6, 3), (0, 4, 6, 6)),
    (lambda: nn.Conv2d(4, 6, 3, groups=2), (0, 4, 6, 6)),
    (lambda: nn.ConvTranspose2d(4, 6, 3), (0, 4, 6, 6)),
    (lambda: nn.Linear(4, 6), (0, 4)),
    (lambda: nn.Linear(4, 6), (0, 3, 4)),
]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", range(len(LAYERS_AND_EMPTY_BATCHES)))
@pytest.mark.parametrize("parts", [0, 2])
def test_a_batch_without_examples_has_an_output_without_examples(
    parts: int, case: int, training: bool
) -> None:
    make, shape = LAYERS_AND_EMPTY_BATCHES[case]
    dense = make()
    expected = dense(torch.rand(shape)).shape
    net = tensorize(nn.Sequential(dense), theta=0.5, include=["*"]).train(training)
    each = sketching.draws_per_batch(net, parts) if parts else sketching.per_sample(net)
    with each:
        assert net(torch.rand(shape)).shape == expected
        with sketching.frozen(net, seed=0), sketching.record(net) as ledger:
            assert net(torch.rand(shape)).shape == expected
        with sketching.replay(net, ledger):
            assert net(torch.rand(shape)).shape == expected
        assert net(torch.rand(2, *shape[1:])).shape == (2, *expected[1:])


def test_contexts_leave_the_live_stream_where_it_was() -> None:
    layers = pair(7)
    expected = [drawn(layers), drawn(layers)]
    sketching.seed(layers, 7)
    first = drawn(layers)
    with sketching.frozen(layers, seed=0):
        drawn(layers)
        with sketching.disabled(layers):
            drawn(layers)
    assert [first, drawn(layers)] == expected


def test_the_innermost_context_decides() -> None:
    layers, off = pair(), [[None], [None]]
    with sketching.frozen(layers, seed=1):
        outer = drawn(layers)
        with sketching.disabled(layers):
            assert drawn(layers) == off
            with sketching.frozen(layers, seed=2):
                assert drawn(layers) not in (off, outer)
            assert drawn(layers) == off
        with sketching.record(layers) as ledger:
            assert drawn(layers) == outer
        assert drawn(layers) == outer
    with sketching.disabled(layers), sketching.replay(layers, ledger):
        assert drawn(layers) == outer
    with sketching.replay(layers, ledger), sketching.disabled(layers):
        assert drawn(layers) == off


def test_one_model_is_controlled_alone() -> None:
    layers = pair()
    with sketching.disabled(layers[0]):
        assert drawn(layers)[0] == [None]
        assert drawn(layers)[1] != [None]
        with sketching.frozen(layers[1], seed=0):
            assert drawn(layers) == drawn(layers)
            assert drawn(layers)[0] == [None]


@pytest.mark.parametrize(
    "context",
    [
        lambda m: sketching.frozen(m, seed=0),
        sketching.disabled,
        sketching.per_sample,
        sketching.record,
        lambda m: sketching.replay(m, Ledger({"0": [None], "1": [None]})),
    ],
    ids=["frozen", "disabled", "per_sample", "record", "replay"],
)
def test_an_exception_restores_what_was(
    context: Callable[[nn.Module], AbstractContextManager[Any]],
) -> None:
    layers = pair()
    with sketching.frozen(layers, seed=9):
        outer = drawn(layers, 2)
        with pytest.raises(ZeroDivisionError), context(layers):
            drawn(layers, 2)
            raise ZeroDivisionError
        assert drawn(layers, 2) == outer
    live = [drawn(layers, 2) for _ in range(2)]
    assert live[0] != live[1]


def test_threads_do_not_see_each_other() -> None:
    layers, ready = pair(), Barrier(3, timeout=20)
    found: dict[str, list[list[list[Any]]]] = {}

    def draws(name: str) -> None:
        ready.wait()
        found[name] = [drawn(layers) for _ in range(3)]
        ready.wait()  # both blocks stay open until everybody has drawn

    def frozen(seed: int) -> None:
        with sketching.frozen(layers, seed=seed):
            draws(str(seed))

    threads = [Thread(target=frozen, args=[seed]) for seed in (1, 2)]
    with sketching.disabled(layers):
        for thread in threads:
            thread.start()
        draws("main")
        for thread in threads:
            thread.join()
    assert found.keys() == {"main", "1", "2"}
    assert found["main"] == [[[None], [None]]] * 3
    for seed in (1, 2):
        with sketching.frozen(layers, seed=seed):
            assert found[str(seed)] == [drawn(layers)] * 3


def test_a_thread_of_the_block_is_under_it_until_the_block_ends() -> None:
    layers = pair()
    with ThreadPoolExecutor(1) as pool:
        with sketching.frozen(layers, seed=0):
            held = pool.submit(drawn, layers).result()
            assert held == drawn(layers)
        found = [pool.submit(drawn, layers).result() for _ in range(2)]
    assert found[0] != found[1]


# --- record and replay ------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [None, 3])
def test_ledger_through_json(batch: int | None) -> None:
    layers = nn.ModuleList([Layer(16, 1, 5), Layer(16), Layer(4, theta=1)])
    with sketching.per_sample(layers), sketching.record(layers) as ledger:
        made = [drawn(layers, batch) for _ in range(3)]
    read = Ledger.from_dict(json.loads(json.dumps(ledger.to_dict())))
    assert read.to_dict() == ledger.to_dict()
    for _ in range(2):  # a ledger can be used again
        with sketching.replay(layers, read):
            assert [drawn(layers, batch) for _ in range(3)] == made
    assert made[0] != made[1]


def test_replay_gives_the_same_outputs() -> None:
    net = nn.Sequential(*(TuckerConv2d.from_conv(nn.Conv2d(8, 8, 3), 0.7) for _ in range(2)))
    x = torch.randn(2, 8, 7, 7)
    with torch.no_grad():
        with sketching.record(net) as ledger:
            made = [net(x), net(x)]
        with sketching.replay(net, ledger):
            assert torch.equal(net(x), made[0])
            assert torch.equal(net(x), made[1])
    assert not torch.equal(made[0], made[1])


def test_ledger_too_short() -> None:
    layers = pair()
    with sketching.record(layers) as ledger:
        drawn(layers)
    with (
        sketching.replay(layers, ledger),
        pytest.raises(UsageError, match="the ledger holds fewer draws than this block makes"),
    ):
        drawn(layers)
        drawn(layers)


def test_ledger_of_another_model() -> None:
    with sketching.record(nn.ModuleList([Layer(16)])) as ledger:
        pass
    with pytest.raises(UsageError, match="the ledger and the model differ in layer '1': record"):
        sketching.replay(pair(), ledger)


def test_record_sees_what_was_used() -> None:
    layers = pair()
    with sketching.record(layers) as ledger:
        live = drawn(layers)
        with sketching.disabled(layers):
            drawn(layers)
        with sketching.frozen(layers, seed=0):
            held = drawn(layers)
    for index, name in enumerate("01"):
        plain = ledger.to_dict()[name]
        assert [live[index], None, held[index]] == plain


def test_records_nest() -> None:
    layers = pair()
    with sketching.record(layers) as outer:
        drawn(layers)
        with sketching.record(layers) as inner:
            drawn(layers)
    assert len(inner.draws["0"]) == 1
    assert len(outer.draws["0"]) == 2, "an inner record took the outer one's draws"


def test_a_shared_layer_is_one_sketch() -> None:
    layer = Layer(16)
    layers = nn.ModuleList([layer, layer])
    assert sketching.sketches(layers) == {"0": layer.sketch}
    with sketching.record(layers) as ledger:
        made = drawn(layers)
    assert made[0] != made[1]
    with sketching.replay(layers, ledger):
        assert drawn(layers) == made


# --- copies -----------------------------------------------------------------------------------


def test_deepcopy_goes_on_from_where_the_original_stands() -> None:
    layers = pair(3)
    drawn(layers)
    twin = copy.deepcopy(layers)
    ahead = [drawn(twin) for _ in range(2)]
    assert [drawn(layers) for _ in range(2)] == ahead, "the copies share a generator"
    with sketching.disabled(layers):
        assert drawn(twin) != [[None], [None]]
    again = copy.deepcopy(layers)
    sketching.seed(again, 5)
    assert drawn(again) != drawn(layers)
    assert len(sketching.sketches(nn.ModuleList([*layers, *twin]))) == 4


def test_deepcopy_keeps_sharing() -> None:
    layer = Layer(16)
    twin = copy.deepcopy(nn.ModuleList([layer, layer]))
    assert len(sketching.sketches(twin)) == 1


def test_pickle_starts_the_stream_anew() -> None:
    layers = pair(3)
    first = drawn(layers)
    read = pickle.loads(pickle.dumps(layers))
    assert drawn(read) == first
    for before, after in zip(layers, read, strict=True):
        kept = ("shape", "theta", "modes", "min_keep")
        assert all(getattr(before.sketch, k) == getattr(after.sketch, k) for k in kept)


# --- draws made before their forward ----------------------------------------------------------


@pytest.mark.parametrize("per_sample", [False, True])
def test_draws_made_before_a_forward_are_its_own(per_sample: bool) -> None:
    layers = pair(3)
    with sketching.per_sample(layers) if per_sample else nullcontext():
        plain = [drawn(layers, 5) for _ in range(2)]
        sketching.seed(layers, 3)
        for each in plain:
            with sketching.drawn(layers, CPU, 5):
                assert drawn(layers, 5) == each
        assert drawn(layers, 5) not in plain


def test_draws_made_before_end_with_their_block() -> None:
    layers = pair(3)
    with pytest.raises(RuntimeError), sketching.drawn(layers, CPU, 1):
        raise RuntimeError
    assert all(sketch.ahead == () for sketch in sketching.sketches(layers).values())


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"theta": 0.0}, "theta must lie in (0, 1], got 0.0"),
        ({"theta": 1.5}, "theta must lie in (0, 1], got 1.5"),
        ({"theta": -0.1}, "theta must lie in (0, 1], got -0.1"),
        ({"theta": float("nan")}, "theta must lie in (0, 1], got nan"),
        ({"modes": [0, 2]}, "mode 2 does not exist: the core has modes 0 to 1"),
        ({"modes": [-1]}, "mode -1 does not exist"),
        ({"min_keep": -1}, "min_keep and min_dim must be >= 0, got -1 and 1"),
        ({"min_dim": -2}, "min_keep and min_dim must be >= 0, got 1 and -2"),
    ],
)
def test_a_sketch_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        Sketch((4, 4), **{"theta": 0.5} | options)
    assert message in str(error.value)
