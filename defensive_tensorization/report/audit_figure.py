"""What the draws' gradients have in common by layer, and the loss along two directions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .audits import epsilon
from .figures import STYLES, saved
from .wrapping import wrapped


def headline(result: Mapping[str, Any]) -> str:
    """Which network, how much it keeps, and whether that can be believed."""
    said = result["verdict"]
    share, low, high = (100 * said["accuracy"][name] for name in ("estimate", "low", "high"))
    kept = f"keeps {share:.1f}% ({low:.1f} to {high:.1f}) at ε = {epsilon(result)}"
    return f"{result['name']}: {kept}; {said['words']}"


def figure(result: Mapping[str, Any], path: Path) -> Path:
    """A PNG of three panels: signal-to-noise, cosine between draws, the margin around images."""
    from .agg import pyplot

    layers = result["layers"]
    tall = max(3.2, 0.22 * len(layers))
    made, axes = pyplot.subplots(1, 3, figsize=(13, tall), layout="constrained")
    places = range(len(layers))
    for axis, key, title in (
        (axes[0], "snr", "gradient signal-to-noise of one draw"),
        (axes[1], "cosine", "cosine between two draws"),
    ):
        values = [each[key] for each in layers]
        axis.barh(places, [value or 0.0 for value in values], color=STYLES[1][0])
        axis.set_yticks(places, [each["name"] for each in layers], fontsize=7)
        axis.invert_yaxis()
        axis.set_title(title, fontsize=10)
        if all(value is None for value in values):
            axis.text(0.5, 0.5, "nothing is random", ha="center", transform=axis.transAxes)
            axis.set_xticks([])
        elif key == "snr":
            axis.set_xscale("symlog", linthresh=0.01)
    surface = result["surface"]
    for name, (colour, marker, dash) in zip(("gradient", "random"), STYLES[1:], strict=False):
        axes[2].plot(
            surface["places"],
            surface[name],
            color=colour,
            marker=marker,
            linestyle=dash,
            label=f"along sign({name})" if name == "gradient" else "along random signs",
        )
    axes[2].axhline(0, color="#999999", linewidth=0.8)
    axes[2].set_title("margin of the wrong class (logits), mean", fontsize=10)
    axes[2].set_xlabel("distance / ε")
    axes[2].legend(frameon=False)
    said = headline(result)
    made.suptitle(wrapped(said, 0.98 * 13, 12), fontsize=12)
    return saved(made, path, f"Audit: {result['name']}", said, dpi=120)
