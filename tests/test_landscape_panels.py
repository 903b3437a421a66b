"""Panels on disk: read back as they were, the same bytes, and no pickle."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.fake_panels import panel

from defensive_tensorization.errors import UsageError
from defensive_tensorization.results.landscape_panels import ARRAYS, chosen, load, read, save

PAIR = [panel(theta=0.9), panel(theta=0.8, slope=3.0, draws=20, predictions={"frog": 19, "cat": 1})]


def test_a_file_reads_back(tmp_path: Path) -> None:
    path = save(tmp_path / "deep" / "a.npz", PAIR)
    for read_back, kept in zip(load(path), PAIR, strict=True):
        assert read_back.about == kept.about
        for name in ARRAYS:
            array = getattr(read_back, name)
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, getattr(kept, name))
    assert [p.name for p in path.parent.iterdir()] == ["a.npz"]


def test_the_same_panels_are_the_same_bytes(tmp_path: Path) -> None:
    first = save(tmp_path / "a.npz", PAIR)
    again = save(tmp_path / "b.npz", load(first))
    assert first.read_bytes() == again.read_bytes()


def test_anybody_can_read_it(tmp_path: Path) -> None:
    """With numpy and json alone; what panels share is there once."""
    with np.load(save(tmp_path / "a.npz", PAIR), allow_pickle=False) as file:
        described = json.loads(str(file["about"]))
        assert [each["theta"] for each in described] == [0.9, 0.8]
        names = [each["arrays"] for each in described]
        np.testing.assert_array_equal(file[names[1]["loss"]], PAIR[1].loss)
        assert names[0]["image"] == names[1]["image"]
        assert len(file.files) == 1 + len({name for each in names for name in each.values()})


@pytest.mark.parametrize(("draws", "version"), [(0, ""), (1, "draw"), (2, "mean"), (20, "mean")])
def test_a_panel_s_version_is_by_its_draws(draws: int, version: str) -> None:
    assert panel(draws=draws).version == version


def test_no_file_holds_no_panels(tmp_path: Path) -> None:
    assert load(tmp_path / "none.npz") == [] == read(tmp_path / "nowhere")
    save(tmp_path / "b.npz", PAIR[1:])
    save(tmp_path / "a.npz", PAIR[:1])
    assert [each.about.theta for each in read(tmp_path)] == [0.9, 0.8]


def test_what_is_no_such_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("loss")
    np.savez(tmp_path / "other.npz", loss=np.zeros(3))
    later = json.dumps([{**json.loads(about_of(tmp_path))[0], "later": 1}])
    np.savez(tmp_path / "later.npz", about=np.array(later))
    whole = save(tmp_path / "torn.npz", PAIR).read_bytes()
    (tmp_path / "torn.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("text", "other", "later", "torn"):
        with pytest.raises(UsageError, match=f"{name}.npz: not the panels of a landscape"):
            load(tmp_path / f"{name}.npz")


def about_of(folder: Path) -> str:
    with zipfile.ZipFile(save(folder / "whole.npz", PAIR)) as archive:
        assert "about.npy" in archive.namelist()
    with np.load(folder / "whole.npz") as file:
        return str(file["about"])


def test_two_data_need_a_choice() -> None:
    other = panel(data="CIFAR-10", data_digest="e" * 16)
    assert chosen(PAIR) == PAIR
    with pytest.raises(UsageError) as caught:
        chosen([*PAIR, other])
    assert str(caught.value) == (
        f"panels come from several data: 'CIFAR-10' ({'e' * 16}), 'CIFAR-10, JPEG q75' "
        f"({'d' * 16}); choose one with --data TITLE"
    )
    assert chosen([*PAIR, other], data="CIFAR-10") == [other]
    assert chosen([*PAIR, other], data="d" * 16) == PAIR
    with pytest.raises(UsageError, match="--data 'MNIST' has no panels here; there are panels of"):
        chosen(PAIR, data="MNIST")
