"""Where everything that is random in an epoch stands, the order of the examples apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .. import sketching


@dataclass(frozen=True)
class RngState:
    """The generators of a network's sketches, of the `noise` of its attack, and of torch."""

    network: nn.Module
    noise: torch.Generator
    device: torch.device

    def now(self) -> dict[str, Any]:
        """Their states, for `rewind` and for a checkpoint."""
        cuda = self.device.type == "cuda"
        return {
            "sketch": sketching.rng_states(self.network),
            "noise": self.noise.get_state(),
            "torch": torch.get_rng_state(),
            **({"cuda": torch.cuda.get_rng_state(self.device)} if cuda else {}),
        }

    def rewind(self, then: Mapping[str, Any]) -> None:
        """Put all back to where `now` found them."""
        sketching.rewind(self.network, then["sketch"], self.device)
        self.noise.set_state(then["noise"])
        torch.set_rng_state(then["torch"])
        if self.device.type == "cuda" and "cuda" in then:
            torch.cuda.set_rng_state(then["cuda"], self.device)
