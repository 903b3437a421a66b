"""The networks whose readings are compared: clean accuracy, and what each attack leaves of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from defensive_tensorization.report.attack_names import STOPS, shown
from defensive_tensorization.report.formats import Record

CLEAN_AT_1 = "clean_at_1"  # without a draw, at theta = 1
SHOWN = f"{STOPS}pgd"  # the stopped attack beside those that do not stop


@dataclass(frozen=True)
class Left:
    """Accuracy, and P(correct | found) of an attack that stops, fractions; of n images a seed."""

    accuracy: float
    given_found: float | None
    n: int
    seeds: int


@dataclass(frozen=True)
class Network:
    """left: by attack ("clean", CLEAN_AT_1 or its name) and epsilon; width None: without rows.

    cosine  of two draws' gradients at `compared` images, the mean over evaluation seeds; None:
            not measured.
    """

    name: str
    left: Mapping[tuple[str, float], Left]
    width: int | None = None
    batchnorm: str = ""
    cosine: float | None = None
    compared: int = 0


def lines(networks: Sequence[Network]) -> list[list[str]]:
    """A table in percent; attacks at the middle epsilon of those that do not stop."""
    run = {at for each in networks for at in each.left}
    beside = sorted((e, a) for a, e in run if e and not a.startswith(STOPS))
    epsilons = sorted({epsilon for epsilon, _ in beside})
    middle = epsilons[len(epsilons) // 2] if epsilons else None
    columns = [(a, e) for e, a in beside if e == middle]
    heads = ["Network", "clean accuracy at θ", "clean accuracy at θ = 1"]
    if middle is not None:
        columns = [(SHOWN, middle), *columns]
        heads += [f"PGD at {middle:g}, stopped", f"P(correct given found), PGD at {middle:g}"]
        heads += [f"{shown(a)} at {e:g}" for a, e in columns[1:]]
    compared = max((each.compared for each in networks), default=0)
    if compared:
        heads.append(f"cosine of two draws' gradients, {compared} images")
    made = [heads]
    for each in networks:
        line = [each.name, *(_percent(each, name, 0.0) for name in ("clean", CLEAN_AT_1))]
        for attack, epsilon in columns:
            line.append(_percent(each, attack, epsilon))
            if attack == SHOWN:
                there = each.left.get((attack, epsilon))
                given = there and there.given_found
                line.append("—" if given is None else f"{given:.2f}")
        if compared:
            line.append("—" if each.cosine is None else f"{each.cosine:.2f}")
        made.append(line)
    return made


def records(networks: Sequence[Network]) -> list[Record]:
    """One record for each network and attack, accuracies in percent."""
    return [
        {
            "network": each.name,
            "attack": attack,
            "epsilon": epsilon,
            "accuracy": round(100 * left.accuracy, 4),
            "right_given_found": None if left.given_found is None else round(left.given_found, 3),
            "gradient_cosine": each.cosine if attack == "clean" else None,
            "n": left.n,
            "seeds": left.seeds,
        }
        for each in networks
        for (attack, epsilon), left in each.left.items()
    ]


def _percent(network: Network, attack: str, epsilon: float) -> str:
    there = network.left.get((attack, epsilon))
    return "—" if there is None else f"{100 * there.accuracy:.1f}"
