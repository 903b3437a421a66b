"""How accuracies move with the network's width: one panel for each handling of BatchNorm."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from defensive_tensorization.report.attack_names import STOPS
from defensive_tensorization.report.caption import Facts
from defensive_tensorization.report.figures import STYLES, saved
from defensive_tensorization.report.fit_networks import CLEAN_AT_1, Network
from defensive_tensorization.report.wrapping import PAGE, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FOUND = "P(correct | found)"
COSINE = "100 × cosine of two draws' gradients"
LINES = (  # label, attack, epsilon
    ("clean, random masks", "clean", 0.0),
    ("clean at θ = 1, no masks", CLEAN_AT_1, 0.0),
    ("PGD at 8, stopped at the first miss", f"{STOPS}pgd", 8.0),
    (f"{FOUND} of that attack", FOUND, 8.0),
    ("PGD at 8, full budget", "pgd", 8.0),
    ("EOT-PGD at 8", "eot_pgd", 8.0),
    ("EOT-PGD at 2", "eot_pgd", 2.0),
    (COSINE, COSINE, 0.0),
)
TOPICS = ("data", "training", "epochs", "training seed", "scored", "evaluation seeds")


def drawable(networks: Sequence[Network]) -> bool:
    """Whether any handling of BatchNorm has networks of several widths."""
    return any(len({n.width for n in each}) > 1 for each in _panels(networks).values())


def draw(networks: Sequence[Network], title: str, about: Facts, path: Path) -> Path:
    """Writes a PNG: accuracy in % against width, on a logarithmic scale."""
    from defensive_tensorization.report.agg import pyplot

    panels = _panels(networks)
    figure, axes = pyplot.subplots(
        *(1, len(panels)), figsize=(PAGE, 4.2), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (handling, mine) in zip(axes[0], panels.items(), strict=True):
        _panel(axis, mine)
        axis.set_title(f"BatchNorm {handling}", fontsize=9)
    axes[0][0].set_ylabel("accuracy, or probability (%)")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    told = (f"{topic}: {text}" for topic, text in about if topic in TOPICS or topic[:3] == "at ")
    lacking = " and ".join(each.name for each in networks if each.width is None)
    text = f"ε in 1/255. {'; '.join(told)}{'; not run: ' if lacking else ''}{lacking}."
    return saved(figure, path, title, text, wrapped(text, 0.98 * PAGE, 8))


def points(networks: Sequence[Network], attack: str, epsilon: float) -> list[tuple[int, float]]:
    """(width, percent) of the networks that have it (COSINE: 100 times it), the narrowest first."""
    values = ((each.width, _value(each, attack, epsilon)) for each in networks)
    return sorted((w, 100 * v) for w, v in values if w is not None and v is not None)


def _value(network: Network, attack: str, epsilon: float) -> float | None:
    if attack == COSINE:
        return network.cosine
    left = network.left.get((f"{STOPS}pgd" if attack == FOUND else attack, epsilon))
    if left is None:
        return None
    return left.given_found if attack == FOUND else left.accuracy


def _panels(networks: Sequence[Network]) -> dict[str, list[Network]]:
    panels: dict[str, list[Network]] = {}
    for each in networks:
        if each.width is not None:
            panels.setdefault(each.batchnorm, []).append(each)
    return panels


def _panel(axis: "Axes", mine: Sequence[Network]) -> None:
    for (label, attack, epsilon), (colour, marker, dash) in zip(LINES, STYLES, strict=False):
        found = points(mine, attack, epsilon)
        axis.plot(
            [width for width, _ in found],
            [percent for _, percent in found],
            color=colour,
            marker=marker,
            linestyle=dash,
            label=label,
        )
    widths = sorted({each.width for each in mine if each.width})
    axis.set_xscale("log", base=2)
    axis.set_xticks(widths, [str(width) for width in widths])
    axis.minorticks_off()
    axis.set_xlabel("width")
    axis.set_ylim(-2, 100)
    axis.grid(alpha=0.3)
