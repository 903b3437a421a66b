"""Rendering picks its own panels, redraws without the network, and repeats what is committed."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.figure2_panels import WORDS, cell, panels_of

from defensive_tensorization.config.schema import PathsConfig
from defensive_tensorization.errors import UsageError
from defensive_tensorization.results import landscape_panels
from defensive_tensorization.results.landscape_panels import Panel
from defensive_tensorization.tables.landscapes import render
from defensive_tensorization.tables.render import render as render_experiment


def write(where: Path, *groups: list[Panel]) -> None:
    for i, group in enumerate(groups):
        landscape_panels.save(where / "runs" / "landscapes" / f"{i}.npz", group)


def rendered(where: Path, *, data: str | None = None) -> Path:
    config = replace(cell(), paths=PathsConfig(str(where / "runs"), "unused"))
    cells = {method: cell(method) for method in config.experiment.columns}
    render(config, cells, WORDS, where / "smoke", data)
    return where / "smoke"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the pictures, where a test is of the choice alone."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, path, **__: path.touch())


def places(folder: Path) -> dict[tuple[float, int], float]:
    """(theta, draws) -> the loss in the grid's corner, of what is collected."""
    found = landscape_panels.load(folder / "figure2.npz")
    return {(p.about.theta, p.about.draws): round(float(p.loss[-1, -1]), 3) for p in found}


def test_it_redraws_without_the_network_or_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    save = Figure.savefig

    def one(figure: Figure, path: Path, **options: Any) -> None:
        path.touch()
        if path.name == "figure2.png":
            save(figure, path, **options)

    monkeypatch.setattr(Figure, "savefig", one)
    write(tmp_path, panels_of("ours_1", 8.0), panels_of("ours_0.9", 4.0))
    before = contents(rendered(tmp_path))
    assert sorted(before) == [
        *("figure2.md", "figure2.npz", "figure2.pdf", "figure2.png"),
        *("figure2_mean.pdf", "figure2_mean.png"),
    ]
    shutil.rmtree(tmp_path / "runs")
    for path in (tmp_path / "smoke").iterdir():
        if path.suffix != ".npz":
            path.unlink()
    assert contents(rendered(tmp_path)) == before


def test_what_is_missing_is_named(tmp_path: Path, quick: None) -> None:
    write(tmp_path, panels_of("ours_0.8", 8.0)[:1])
    text = (rendered(tmp_path) / "figure2.md").read_text()
    assert (
        "- not computed yet: θ=1; θ=1, mean; θ=0.95; θ=0.95, mean; θ=0.9; θ=0.9, mean; θ=0.8, mean"
        in text
    )
    assert "| loss at the image, one draw | — | — | — | 0.31 |" in text
    write(tmp_path, [])
    (tmp_path / "smoke" / "figure2.npz").unlink()
    nothing = "- not computed yet: θ=1, θ=0.95, θ=0.9, θ=0.8\n"
    assert nothing in (rendered(tmp_path) / "figure2.md").read_text()
    assert [path.name for path in (tmp_path / "smoke").iterdir()] == ["figure2.md"]


def test_other_recipes_and_protocols_are_not_picked_up(tmp_path: Path, quick: None) -> None:
    strangers = [
        *panels_of("ours_0.9", 9.0, recipe="another"),
        *panels_of("ours_0.9", 9.0, protocol="another"),
    ]
    write(tmp_path, panels_of("ours_0.9", 4.0), strangers)
    assert places(rendered(tmp_path)) == {(0.9, 1): 1.701, (0.9, 20): 1.701}


def test_own_panels_stand_before_committed_ones(tmp_path: Path, quick: None) -> None:
    write(tmp_path, panels_of("ours_1", 8.0), panels_of("ours_0.9", 4.0))
    rendered(tmp_path)
    write(tmp_path, panels_of("ours_0.9", 8.0))
    (tmp_path / "runs" / "landscapes" / "1.npz").unlink()
    assert places(rendered(tmp_path)) == {(1.0, 0): 3.53, (0.9, 1): 3.53, (0.9, 20): 3.53}


def test_panels_of_two_data_need_a_choice(tmp_path: Path, quick: None) -> None:
    other = {"data": "digits", "data_digest": "e" * 16}
    write(tmp_path, panels_of("ours_0.9", 4.0), panels_of("ours_0.9", 8.0, **other))
    with pytest.raises(UsageError, match="panels come from several data: .* choose one with --da"):
        rendered(tmp_path)
    assert set(places(rendered(tmp_path, data="digits")).values()) == {3.53}


def test_an_experiment_with_a_landscape_is_rendered_so(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("defensive_tensorization.report.index.write_index", lambda folder: folder)
    write(tmp_path, panels_of("ours_0.9", 4.0))
    paths = [f"paths.runs={tmp_path / 'runs'}", f"paths.results={tmp_path}"]
    made = render_experiment("figure2", [*WORDS[1:], *paths])
    assert places(tmp_path / "smoke") == {(0.9, 1): 1.701, (0.9, 20): 1.701}
    assert capsys.readouterr().out.count("wrote ") == len(made) == 7
