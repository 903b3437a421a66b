"""Packed weights against numpy's packbits, and sizes against a count by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from defensive_tensorization import binarize, tensorize
from defensive_tensorization.config import composed
from defensive_tensorization.errors import UsageError
from defensive_tensorization.experiment.ensure import trained
from defensive_tensorization.experiment.plan import plan
from defensive_tensorization.xnor import XnorConv2d, binary_layer
from defensive_tensorization.xnor.packed import dense_size, pack, packed, size, unpack

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import export_xnor


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31))
def test_bits_are_numpy_s(f: int, c: int, k: int, seed: int) -> None:
    torch.manual_seed(seed)
    kernel = binary_layer(nn.Conv1d(c, f, k)).kernel().detach()
    bits, alpha = pack(kernel)
    assert np.array_equal(bits.numpy(), np.packbits(kernel.flatten(1).numpy() >= 0, axis=1))
    assert torch.equal(unpack(bits, alpha, tuple(kernel.shape)), kernel)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Conv2d(8, 12, 3, bias=False)),
        *(nn.Flatten(), nn.Linear(48, 4)),
    )


def test_sizes_by_hand() -> None:
    model = binarize(network())
    rest = 4 * (8 * 27 + 4 * 8 + 48 * 4 + 4)  # stem, BatchNorm with its statistics, head
    assert size(packed(model)) == rest + 12 * 9 + 12 * 4  # 72 bits and a scale for each filter
    assert dense_size(model) == rest + 4 * 12 * 72


@pytest.mark.parametrize("tensorized", [False, True])
def test_every_binary_kernel_is_kept(tensorized: bool) -> None:
    model = network()
    model = binarize(tensorize(model, theta=1.0) if tensorized else model)
    state = packed(model)
    layers = {n: m for n, m in model.named_modules() if isinstance(m, XnorConv2d)}
    assert list(layers) == ["2"] and not any(name.startswith("2.weight") for name in state)
    for name, layer in layers.items():
        kernel = layer.kernel().detach()
        kept = unpack(state[f"{name}.bits"], state[f"{name}.alpha"], tuple(kernel.shape))
        torch.testing.assert_close(kept, kernel)
    assert torch.equal(state["4.weight"], model[4].weight)


def test_a_layer_used_twice_keeps_no_float_weight() -> None:
    layer = nn.Conv2d(8, 8, 1, bias=False)
    model = binarize(nn.Sequential(nn.Conv2d(3, 8, 1), layer, nn.ReLU(), layer, nn.Conv2d(8, 2, 1)))
    assert {n for n in packed(model) if n[0] in "13"} == {"1.bits", "1.alpha", "3.bits", "3.alpha"}


def test_a_trained_network_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["dataset=digits", "precision=xnor", "defence=none", "theta=1", "model.width=4"]
    words += ["train.epochs=1", "train.images=128", "device=cpu", f"paths.runs={tmp_path}"]
    file = tmp_path / "packed.pt"
    monkeypatch.setattr(sys, "argv", ["export_xnor.py", str(file), *words])
    export_xnor.main()
    assert "19 binary layers" in capsys.readouterr().out
    state = torch.load(file, weights_only=True)
    network = trained(plan(composed(words))).network
    layers = {n: m for n, m in network.named_modules() if isinstance(m, XnorConv2d)}
    assert len(layers) == 19
    for name, layer in layers.items():
        kernel = layer.kernel().detach()
        kept = unpack(state[f"{name}.bits"], state[f"{name}.alpha"], tuple(kernel.shape))
        assert torch.equal(kept, kernel)


def test_what_cannot_be_exported() -> None:
    with pytest.raises(UsageError, match="no layer of this network is binary"):
        packed(network())
    with pytest.raises(UsageError, match="layer '2' draws its weights anew at every forward"):
        packed(binarize(tensorize(network(), theta=0.9)))
