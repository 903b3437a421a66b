"""The network as attackers and scorers see it."""

from torch import Tensor, nn

from ..training.loop import autocast


class Classifier(nn.Module):
    """Evaluation mode, fixed weights, float32 out.

    transform  stands in front of it, as a part of the defence.
    """

    def __init__(self, network: nn.Module, dtype: str, transform: nn.Module | None = None) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype
        self.transform = transform
        self.draws = False  # whether it may draw what `sketching` does not know of
        self.eval().requires_grad_(False)

    def seen(self, how: str) -> "Classifier":
        """What an attacker holds who computes `through` the transform, or is `oblivious` of it."""
        return self if how == "through" else Classifier(self.network, self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        if self.transform is not None:
            x = self.transform(x)
        with autocast(x.device, self.dtype):
            logits: Tensor = self.network(x)
        return logits.float()
