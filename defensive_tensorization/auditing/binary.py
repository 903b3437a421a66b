"""Whether a model uses weights of its binary layers past these layers: there they are real."""

import warnings
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from ..attacks.unchanged import unchanged
from ..randomness import seeded
from ..xnor.layers import XnorConvNd

NAMED = 4  # layers in one message
TOLERANCE = 1e-3


def warn_of_real_weights(model: nn.Module, x: Tensor) -> None:
    """Warn, by name, of binary layers whose weight the answers to x [B, ...] use directly.

    The outputs of all binary layers are written down. If they are replayed, the layers' weights can
    be zero without an effect, unless something else than the layers reads them.
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, XnorConvNd)}
    if not layers:
        return
    x = x[:2]
    with unchanged(model), torch.no_grad():
        made: dict[nn.Module, list[Any]] = {layer: [] for layer in layers.values()}
        expected = _answers(model, x, made, replayed=False)
        if not _same(expected, _answers(model, x, made)):  # nothing can be told
            return
        found = [] if _same(expected, _without(layers.values(), model, x, made)) else [*layers]
        found = [n for n in found if not _same(expected, _without([layers[n]], model, x, made))]
    if found:
        names = ", ".join(f"'{n}'" for n in found[:NAMED])
        names += f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        warnings.warn(
            f"the model reads the real weights of its binary layers {names} past their forward, so "
            "it is not binary there: call the layers instead, or name them in exclude of binarize",
            UserWarning,
            stacklevel=3,
        )


def _answers(
    model: nn.Module, x: Tensor, made: dict[nn.Module, list[Any]], *, replayed: bool = True
) -> Tensor:
    """The answers under one seed; the layers' outputs are taken from `made`, or go there."""
    left = {layer: iter([*outputs]) for layer, outputs in made.items()}

    def meet(layer: nn.Module, _: Any, output: Tensor) -> Tensor:
        if replayed:
            return next(left[layer], output).clone()
        made[layer].append(output.clone())
        return output

    with ExitStack() as hooks:
        for layer in made:
            hooks.callback(layer.register_forward_hook(meet).remove)
        with seeded(model, 0, "real weights"):
            answers: Tensor = model(x.clone())
    return answers.clone()


def _without(
    layers: Iterable[nn.Module], model: nn.Module, x: Tensor, made: dict[nn.Module, list[Any]]
) -> Tensor:
    """The answers where these layers' weights are zero."""
    with unchanged(model):
        for layer in layers:
            for name, parameter in layer.named_parameters():
                if name != "bias":
                    parameter.zero_()
        return _answers(model, x, made)


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    scale = float(one.abs().nan_to_num().max())
    return torch.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True)
