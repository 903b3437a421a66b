"""Trees and tars as names, bytes and an identity, whatever their files are."""

import re
import tarfile
from pathlib import Path

import pytest

from defensive_tensorization.data.source import OPENERS, Source, placed
from defensive_tensorization.errors import UsageError

FILES = {"a/x.wav": b"1", "a/y.wav": b"22", "b/x.wav": b"333"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "tree"


@pytest.fixture(params=["tree", *OPENERS])
def root(tree: Path, request: pytest.FixtureRequest) -> Path:
    if request.param == "tree":
        return tree
    path = tree.with_name(f"packed{request.param}")
    with tarfile.open(path, f"w:{request.param.removeprefix('.tar').removeprefix('.')}") as archive:
        for name in FILES:
            archive.add(tree / name, name)
    return path


def test_names_and_bytes(root: Path) -> None:
    source = Source(root, "files")
    assert sorted(source.names()) == sorted(FILES)
    assert dict(source.files(FILES)) == FILES
    assert dict(source.files(["b/x.wav"])) == {"b/x.wav": b"333"}
    assert source.identity() == Source(root, "other words").identity()


def test_an_error_says_what_should_be_there(tmp_path: Path) -> None:
    text = f"dataset.root={tmp_path}/x does not exist: name a folder with */*.wav, or a tar of one"
    with pytest.raises(UsageError, match=re.escape(text)):
        Source(tmp_path / "x", "*/*.wav")
    (tmp_path / "x.zip").touch()
    with pytest.raises(UsageError, match=r"neither a folder nor a tar: .* or a \.tar, \.tar\.gz, "):
        Source(tmp_path / "x.zip", "*/*.wav")


def test_a_wanted_file_that_is_gone_is_named(tree: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be read to its end .*gone\.wav"):
        list(Source(tree, "files").files(["a/gone.wav"]))


def test_placed_leaves_out_what_is_hidden_and_the_folder_around() -> None:
    inside = {"./a/x": ("a", "x"), "a/.y": None, ".b/x": None, "b/x": ("b", "x")}
    shown = {name: part for name, part in inside.items() if part}
    assert placed(inside, {"a", "b"}) == shown
    assert placed([f"own/{name}" for name in ("a/x", "b/x")], {"a", "b"}) == {
        "own/a/x": ("a", "x"),
        "own/b/x": ("b", "x"),
    }
    assert placed(["a/x"], {"a"}) == {"a/x": ("a", "x")}
    assert placed(["top", "a/x"], {"z"}) == {"top": ("top",), "a/x": ("a", "x")}
