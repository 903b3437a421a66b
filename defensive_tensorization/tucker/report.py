"""What `tensorize` did."""

from dataclasses import dataclass

from ..replacement import Left
from ..system.table import console


@dataclass(frozen=True)
class Layer:
    """What became of one layer; `error` is ||W - reconstruction|| / ||W||."""

    name: str
    shape: tuple[int, ...]
    ranks: tuple[int, ...]
    sketched: tuple[int, ...]
    parameters_before: int
    parameters_after: int
    error: float


@dataclass(frozen=True)
class Report:
    """What `tensorize` did; its text is a table.

    left  layers that were wanted and stay dense, with the reasons.
    """

    theta: float
    layers: tuple[Layer, ...]
    left: tuple[Left, ...] = ()

    def __str__(self) -> str:
        lines = [("layer", "kernel", "core", "sketched modes", "parameters", "error")]
        for layer in self.layers:
            lines.append(
                (
                    layer.name or "(the model itself)",
                    "x".join(map(str, layer.shape)),
                    "x".join(map(str, layer.ranks)),
                    ",".join(map(str, layer.sketched)) or "none",
                    f"{layer.parameters_before:,} -> {layer.parameters_after:,}",
                    f"{layer.error:.1e}",
                )
            )
        before = sum(layer.parameters_before for layer in self.layers)
        after = sum(layer.parameters_after for layer in self.layers)
        lines.append((f"{len(self.layers)} layers", "", "", "", f"{before:,} -> {after:,}", ""))
        grid = console(lines, range(len(lines[0])))
        stays = [f"left dense: {each}" for each in self.left]
        return "\n".join([f"tensorized at theta = {self.theta:g}", grid, *stays])
