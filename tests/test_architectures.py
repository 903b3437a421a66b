"""Architectures that nobody wrote this library for; docs/layers.md has the table.

To write a row anew: python tests/test_architectures.py "timm convnext_atto"
"""

import sys
import warnings
from typing import Any

import pytest
import torch
from helpers.architectures import SMALL, STANDARDIZED, first_tensor
from torch import nn

import defensive_tensorization as dt
from defensive_tensorization import sketching


def measured(name: str) -> dict[str, Any]:
    """Layers replaced and left; errors relative to the dense model's output, by norm."""
    make, shape = SMALL[name]
    options: dict[str, Any] = {"theta": 0.9, "min_dim": 3, "init": "random"}
    if name in STANDARDIZED:
        options["include"] = ["*"]
    torch.manual_seed(0)
    dense = make().eval()
    x = torch.rand(shape) if len(shape) > 2 else torch.randn(shape)
    with torch.no_grad():
        expected = first_tensor(dense(x))
    told: list[Any]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = dt.tensorize(dense, **options)

    def error(network: nn.Module) -> float:
        with torch.no_grad():
            return float((first_tensor(network(x)) - expected).norm() / expected.norm())

    with sketching.disabled(model):
        exact = error(model)
    left = model.tensorization.left
    assert bool(left) == any("left" in str(w.message) for w in told)
    live = error(model)
    again = make().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dt.tensorize(again, **options)
    again.load_state_dict(model.state_dict())
    with sketching.disabled(again):
        reloaded = error(again)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    before = [p.detach().clone() for p in model.parameters()]
    first_tensor(model(x)).square().mean().backward()
    optimizer.step()
    weights = [p for m in model.modules() if hasattr(m, "core") for p in m.parameters()]
    trained = any(
        not torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True)
    ) and any(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in weights)
    return {
        "layers": len(model.tensorization.layers),
        "left": len(left),
        "exact": exact,
        "live": live,
        "reloaded": reloaded,
        "trained": trained,
        "reasons": sorted({each.reason.partition(":")[0] for each in left}),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_an_architecture_is_the_same_at_theta_1(name: str) -> None:
    if name.startswith("timm"):
        pytest.importorskip("timm", reason="timm is no dependency: install it to try its models")
    got = measured(name)
    assert got["layers"] > 0
    assert got["exact"] < 1e-4 and got["reloaded"] < 1e-4
    assert got["live"] > 1e-3
    assert got["trained"]


if __name__ == "__main__":
    for each in sys.argv[1:] or SMALL:
        row = measured(each)
        step = "yes" if row["trained"] else "NO"
        cells = [each, row["layers"], row["left"], *(f"{row[k]:.1e}" for k in ("exact", "live"))]
        print("|", " | ".join(map(str, [*cells, f"{row['reloaded']:.1e}", step])), "|", flush=True)
        print(*row["reasons"], sep="\n", file=sys.stderr)
