"""What attacked images get from a network: correct answers by image and by draw."""

import torch.nn.functional as F
from torch import Tensor

from ..errors import UsageError
from ..results.scores import Answers
from .attack import Ended

WEIGHTS = "look at its weights and at the scale of its inputs"


def check_finite(logits: Tensor, name: str, remedy: str = WEIGHTS) -> None:
    """Raise UsageError for answers that are infinite or no numbers; `name` says under what."""
    if not logits.isfinite().all():
        raise UsageError(
            f"{name}: the model's answers are infinite or no numbers, which cannot be scored: "
            f"{remedy}"
        )


def score_logits(logits: Tensor, y: Tensor, ended: Ended | None = None) -> Answers:
    """logits [n, B, C] and labels y [B]; a majority is of the most votes, and a tie is none."""
    logits = logits if ended is None else ended.counted(logits, y)
    right = logits.argmax(2) == y
    votes = F.one_hot(logits.argmax(2), logits.shape[2]).sum(0)
    others = votes.scatter(1, y[:, None], -1).amax(1)
    mean = logits.softmax(2).mean(0).argmax(1) == y
    return Answers(
        right.sum(0).cpu().numpy(),
        (right.sum(0) > others).cpu().numpy(),
        mean.cpu().numpy(),
        right.sum(1).cpu().numpy(),
        None if ended is None else ended.names,
    )
