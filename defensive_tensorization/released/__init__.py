"""Released networks: trained weights with all that is needed to build them, and no code.

    network = load("cifar10-resnet18-w16/theta-0.9")
    logits = network(images)                        # [B, 3, 32, 32] in [0, 1] to [B, 10]

A folder of them holds manifest.json, one safetensors file a network, and the reference images that
some need at every forward. The torch package alone builds them: neither Hydra nor any other extra.
"""

from .load import ReleasedNetwork, load, weights
from .manifest import Entry, Manifest

__all__ = ["Entry", "Manifest", "ReleasedNetwork", "load", "weights"]
