"""A figure of loss landscapes: its two versions, what is said under them, and its page."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from defensive_tensorization.report.caption import Facts, by_label, duration, origin, scales
from defensive_tensorization.report.contours import contours, levels
from defensive_tensorization.report.readings import VERSIONS, Figure, table
from defensive_tensorization.report.template import fill
from defensive_tensorization.results.landscape_panels import About


def draw(figure: Figure, folder: Path) -> list[Path]:
    """Writes <name>.md, and <name>.png, <name>_mean.png and both as PDF where there are panels.

    Both versions have the same levels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    at = levels(list(figure.found.values()))
    of = "gradient's sign" if figure.any and figure.any.about.direction == "sign" else "gradient"
    made = []
    for version, suffix in VERSIONS.items():
        path = folder / f"{figure.name}{suffix}.png"
        for stale in (path, path.with_suffix(".pdf")):
            stale.unlink(missing_ok=True)  # of panels that are gone
        if figure.found:
            made += contours(
                [(label, figure.panel(label, version)) for label in figure.labels],
                path,
                title=figure.heading(version),
                caption=caption(figure, version),
                radius=figure.circle * figure.unit,
                at=at,
                axes=(f"along the {of}", "along a random direction"),
            )
    path = folder / f"{figure.name}.md"
    path.write_bytes(page(figure).encode())
    return [path, *made]


def caption(figure: Figure, version: str) -> str:
    """What a reader of one picture needs."""
    known = [p for label in figure.labels if (p := figure.panel(label, version))]
    if not known:
        return "Not computed yet."
    about = [panel.about for panel in known]
    radius = figure.amount(figure.circle * figure.unit)
    of = "sign of the loss's gradient" if about[0].direction == "sign" else "loss's gradient"
    which = f"that of {_plane(figure, about[0])}, for all panels" if figure.fixed else "of each θ"
    missing = [label for label in figure.labels if not figure.panel(label, version)]
    mean = version == "mean" and any(each.draws for each in about)
    return " ".join(
        [
            f"Cross-entropy in nats (lines, the same levels in all panels) around test image "
            f"{about[0].image}, {about[0].label} (+).",
            f"Across: the {of} at the image, {which}. Upwards: a random direction, orthogonal.",
            "Both are scaled to a largest entry of 1, so that along an axis a coordinate is the "
            "l∞ distance from the image; pixels lie in [0, 1], points are not clipped to it.",
            f"Red circle: radius {radius} in this unit; it meets each axis at that l∞ distance, "
            "all points of which are dotted.",
            f"Dashed: where the label's logit stops being the largest{', in the mean' * mean}.",
            _draws(figure, about, version),
            "; ".join(
                [
                    *(f"{topic[0].upper()}{topic[1:]}: {text}" for topic, text in scales(about)),
                    *sorted({each.data for each in about}),
                    *sorted({_network(each) for each in about}),
                    *([f"not computed yet: {', '.join(missing)}"] if missing else []),
                ]
            )
            + ".",
        ]
    )


def page(figure: Figure) -> str:
    """Both versions with their captions, what they say in numbers, and their circumstances."""
    versions = VERSIONS.items() if figure.found else ()
    pictures = [
        (f"{figure.name}{suffix}", figure.heading(version), caption(figure, version))
        for version, suffix in versions
    ]
    return fill(
        "landscape.md",
        title=figure.title,
        pictures=pictures,
        readings=table(figure),
        data=f"{figure.name}.npz",
        facts=facts(figure),
    )


def facts(figure: Figure) -> Facts:
    if not figure.found:
        return (("not computed yet", ", ".join(figure.labels)),)
    panels = list(figure.found.values())
    about = [panel.about for panel in panels]

    def each(value: Callable[[About], str]) -> str:
        told = {(of, value(panel.about)) for (of, _), panel in figure.found.items()}
        return by_label(sorted(told, key=lambda each: (figure.labels.index(each[0]), each[1])))

    ticks = panels[0].ticks
    missing = [
        f"{label}{'' if version == 'draw' else ', mean'}"
        for label in figure.labels
        for version in VERSIONS
        if not figure.panel(label, version)
    ]
    return (
        *scales(about),
        ("data", each(lambda a: a.data)),
        ("network", each(_network)),
        ("epochs", each(lambda a: str(a.epochs))),
        ("BatchNorm", each(lambda a: a.batchnorm)),
        ("training seed", each(lambda a: str(a.train_seed))),
        ("image", each(lambda a: f"{a.image} of the test set's fixed permutation, {a.label}")),
        ("gradient of", each(lambda a: f"{a.plane}, weights {a.plane_weights}")),
        ("grid", f"{len(ticks)} x {len(ticks)} points in [{ticks[0]:g}, {ticks[-1]:g}], float32"),
        ("seed of draws and of the random direction", each(lambda a: str(a.seed))),
        ("run", each(lambda a: f"{a.run_id}, weights {a.weights}")),
        *origin(about),
        ("command", each(lambda a: f"`{a.command}`")),
        ("time", duration(math.fsum(a.seconds for a in about))),
        *((("not computed yet", "; ".join(missing)),) if missing else ()),
    )


def _plane(figure: Figure, about: About) -> str:
    """Whose gradient it is: its label, where it has a place in the figure."""
    mine = {
        label for (label, _), panel in figure.found.items() if panel.about.run_id == about.plane
    }
    return mine.pop() if mine else about.plane


def _draws(figure: Figure, about: Sequence[About], version: str) -> str:
    counts = sorted({each.draws for each in about if each.draws})
    if not counts:
        return "These networks have no random kernels."
    if version == "draw":
        held = (
            "every point of a panel" if figure.fixed else "the gradient and every point of a panel"
        )
        return f"One draw of the random kernels, held for {held}."
    gradient = "" if figure.fixed else ", as is the gradient"
    many = " or ".join(map(str, counts))
    return f"Mean over {many} draws, each held for every point of a panel{gradient}."


def _network(about: About) -> str:
    return f"{about.model}, width {about.width}, {about.precision} weights"
