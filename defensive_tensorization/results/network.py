"""What a result says of the network that it is of: the same in rows and landscape panels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..errors import UsageError

T = TypeVar("T")


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


def of_one_data_set(
    results: Sequence[T], network: Callable[[T], OfNetwork], data: str | None, what: str
) -> list[T]:
    """Return the results of one data set.

    Args:
        data: its title or its digest, without which several data sets are an error.
        what: the results' name in an error, such as "rows".
    """

    def named(result: T) -> tuple[str, str]:
        return network(result).data, network(result).data_digest

    found = sorted({named(each) for each in results})
    names = ", ".join(f"'{title}' ({digest})" for title, digest in found)
    if data is not None:
        if found and not any(data in each for each in found):
            raise UsageError(f"--data '{data}' has no {what} here; there are {what} of {names}")
        results = [each for each in results if data in named(each)]
        found = [each for each in found if data in each]
    if len(found) > 1:
        remedy = "--data TITLE" if len({title for title, _ in found}) > 1 else "--data DIGEST"
        raise UsageError(f"{what} come from several data: {names}; choose one with {remedy}")
    return list(results)
