"""What a result says of the network that it is of: the same in rows and landscape panels."""

from dataclasses import dataclass


@dataclass(frozen=True)
class OfNetwork:
    """The network and its training.

    `fingerprint` is of the weights' recipe and data, `recipe` of the training configuration,
    `protocol` of how the result is made of the network.
    """

    run_id: str
    fingerprint: str
    recipe: str
    protocol: str
    scale: str
    dataset: str
    data: str
    data_digest: str
    model: str
    width: int
    precision: str
    defence: str
    theta: float
    batchnorm: str
    train_seed: int
    epochs: int
