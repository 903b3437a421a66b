"""Questions to W&B's server, whatever it answers them with."""

import os
from collections.abc import Callable
from typing import TypeVar

from defensive_tensorization.errors import UsageError

from .key import has_key

T = TypeVar("T")


def asked(question: Callable[[], T]) -> T:
    """The server's answer, or a UsageError for whatever W&B raises."""
    try:
        return question()
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"W&B did not answer ({reason(error)}): try again later") from None


def reason(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip() or type(error).__name__).split("\n")[0].strip()


def entity() -> str:
    """The account or team that dashboards belong to; "" where neither it nor a key is known."""
    if not has_key() or "WANDB_ENTITY" in os.environ:
        return os.environ.get("WANDB_ENTITY", "")

    def default() -> str:
        import wandb

        return wandb.Api().default_entity or ""

    return asked(default)
