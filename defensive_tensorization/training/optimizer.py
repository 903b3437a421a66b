"""torch's optimizers without torch.compile's tracer, which their decorators import at first use.

That import takes seconds of the time to the first batch. The decorators matter to compiled
optimizers alone, and those here are not.
"""

from functools import cache
from inspect import unwrap
from typing import Any, TypeVar

import torch
from torch.optim import Optimizer

K = TypeVar("K", bound=type[Optimizer])
DECORATED = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


@cache
def untraced(kind: K) -> K:
    """Return the same optimizer, its methods as they are below their decorators.

    Arithmetic, options and state dicts are torch's own. What is no optimizer of torch's comes back
    as it is.
    """
    if not (isinstance(kind, type) and kind.__module__.startswith("torch.optim.")):
        return kind
    step = unwrap(kind.step)

    def without_gradients(self: Optimizer, closure: Any = None) -> Any:
        with torch.set_grad_enabled(self.defaults.get("differentiable", False)):
            return step(self) if closure is None else step(self, closure)

    own: dict[str, Any] = {name: unwrap(getattr(kind, name)) for name in DECORATED}
    own |= {"step": without_gradients, "__doc__": kind.__doc__, "__module__": __name__}
    return type(kind.__name__, (kind,), own)  # type: ignore[return-value]
