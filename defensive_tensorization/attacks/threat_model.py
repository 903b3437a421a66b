"""What an attacker knows of a randomized network: `attack.knowledge`, one switch for every attack.

    fresh       everything but the seed: each of its forwards has a draw of its own (the paper's)
    frozen      the very draw that the defender answers with, one for a batch
    transfer    a draw of its own, one for a batch, which is not the defender's
    omniscient  the full weights, theta = 1
    blackbox    no weights: it attacks the dense twin, trained alike without the defence

The attack is handed a model and does not know which. Scoring has fresh draws, but for `frozen`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import nn

from .. import sketching

Holds = Callable[[nn.Module, int], AbstractContextManager[None]]
_HOLDS: dict[str, Holds] = {
    "fresh": lambda model, seed: nullcontext(),
    "frozen": lambda model, seed: sketching.frozen(model, seed=seed),
    "transfer": lambda model, seed: sketching.frozen(model, seed=seed),
    "omniscient": lambda model, seed: sketching.disabled(model),
    "blackbox": lambda model, seed: nullcontext(),
}
THREAT_MODELS = tuple(_HOLDS)


@contextmanager
def attacker(
    threat_model: str, model: nn.Module, seed: int, surrogate_model: nn.Module | None = None
) -> Iterator[nn.Module]:
    """The model in the attacker's hands until the block ends; `seed` makes the draw it holds."""
    if threat_model == "blackbox":
        if surrogate_model is None:
            raise ValueError("a black-box attacker needs the dense surrogate")
        model = surrogate_model
    with _HOLDS[threat_model](model, seed):
        yield model


def defender(threat_model: str, model: nn.Module, seed: int) -> AbstractContextManager[None]:
    """The defender's draws while it is scored."""
    return _HOLDS["frozen" if threat_model == "frozen" else "fresh"](model, seed)
