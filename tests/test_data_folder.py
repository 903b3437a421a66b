"""Trees and tars of images: Pillow's own pixels, and an error for anything out of order."""

import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from defensive_tensorization.data import folder
from defensive_tensorization.data.cache import Content, digest
from defensive_tensorization.errors import UsageError

CLASSES = ("cat", "dog")
PER_CLASS = {"train": 3, "test": 2}
SIZE = (6, 8)  # height, width

Spoil = Callable[[Path], object]


def read(root: Path) -> Content:
    return folder.read(root, classes=CLASSES, per_class=PER_CLASS, size=SIZE)


def picture(seed: int, shape: tuple[int, ...] = (*SIZE, 3)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def make_tree(root: Path, suffix: str = "png", quality: int = 75) -> Path:
    options = {} if suffix == "png" else {"quality": quality}
    for split, count in PER_CLASS.items():
        for class_name in CLASSES:
            (root / split / class_name).mkdir(parents=True)
            for i in range(count):
                path = root / split / class_name / f"{i:04}.{suffix}"
                picture(hash_of(path)).save(path, **options)
    return root


def hash_of(path: Path) -> int:
    return int.from_bytes("/".join(path.parts[-3:]).rsplit(".", 1)[0].encode()[-7:], "big")


def make_tar(tree: Path, path: Path, inside: str = ".") -> Path:
    with tarfile.open(path, f"w:{path.suffix[1:] if path.suffix != '.tar' else ''}") as archive:
        archive.add(tree, inside)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree")


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "JPG"])
def test_pixels_are_pillows_and_labels_follow_the_sorted_folders(
    tmp_path: Path, suffix: str
) -> None:
    root = make_tree(tmp_path / "tree", suffix)
    content = read(root)
    assert content.classes == CLASSES
    for split, tensors in content.splits().items():
        paths = sorted((root / split).glob("*/*"))
        expected = np.stack([np.asarray(Image.open(path)) for path in paths])
        assert tensors.inputs.shape == (2 * PER_CLASS[split], 3, *SIZE)
        np.testing.assert_array_equal(tensors.inputs.numpy().transpose(0, 2, 3, 1), expected)
        assert tensors.labels.tolist() == [CLASSES.index(path.parent.name) for path in paths]
        assert tensors.labels.dtype == torch.int64


@pytest.mark.parametrize("inside", [".", "cifar", "./deep-name"])
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz"])
def test_a_tar_gives_the_tensors_of_its_tree(tree: Path, suffix: str, inside: str) -> None:
    tar = make_tar(tree, tree.with_suffix(suffix), inside)
    assert digest(read(tar)) == digest(read(tree))


def test_order_in_the_tar_does_not_matter(tree: Path) -> None:
    tar = tree.with_suffix(".tar")
    with tarfile.open(tar, "w") as archive:
        for path in sorted(tree.rglob("*.png"), reverse=True):
            archive.add(path, path.relative_to(tree))
    assert digest(read(tar)) == digest(read(tree))


def test_readme_and_hidden_files_are_passed_over(tree: Path) -> None:
    expected = digest(read(tree))
    (tree / "README.md").write_text("about")
    (tree / "train/cat/.DS_Store").write_bytes(b"\0")
    (tree / "train/cat/._0000.png").write_bytes(b"\0")
    assert digest(read(tree)) == expected
    assert digest(read(make_tar(tree, tree.with_suffix(".tar.gz")))) == expected


def cut(path: Path, keep: float = 0.6) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


def flip(path: Path, at: float = 0.6) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 0x10
    path.write_bytes(data)


def new_class(tree: Path) -> None:
    (tree / "train/dog").rename(tree / "train/wolf")


def stray(name: str) -> Spoil:
    def spoil(tree: Path) -> None:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        picture(0).save(tree / name, "PNG")

    return spoil


def replaced(shape: tuple[int, ...]) -> Spoil:
    return lambda tree: picture(0, shape).save(tree / "test/cat/0001.png")


SPOILED: dict[str, tuple[Spoil, str]] = {
    "missing image": (
        lambda tree: (tree / "train/cat/0001.png").unlink(),
        "train/cat holds 2 images, the data set has exactly 3: copy or download it again, whole",
    ),
    "missing split": (
        lambda tree: [path.unlink() for path in (tree / "test").rglob("*.png")],
        "test/cat holds 0 images, the data set has exactly 2",
    ),
    "one too many": (
        stray("test/dog/9.png"),
        "test/dog holds 3 images, the data set has exactly 2",
    ),
    "unknown class": (
        new_class,
        "train/wolf/0000.png has the unknown class 'wolf', the classes are cat, dog: "
        "rename or remove its folder",
    ),
    "not an image": (
        lambda tree: (tree / "train/cat/labels.csv").write_text("1"),
        "train/cat/labels.csv is out of place, every file must be "
        "<train|test>/<class>/<image>.<png|jpg|jpeg>: remove or rename it",
    ),
    "unknown split": (stray("valid/cat/0.png"), "valid/cat/0.png is out of place"),
    "too deep": (stray("train/cat/more/0.png"), "train/cat/more/0.png is out of place"),
    "too high": (stray("0.png"), "0.png is out of place"),
    "empty image": (
        lambda tree: (tree / "train/dog/0002.png").write_bytes(b""),
        "train/dog/0002.png cannot be decoded (not a readable PNG or JPEG): "
        "put an intact copy in its place",
    ),
    "cut image": (
        lambda tree: cut(tree / "train/dog/0002.png"),
        "train/dog/0002.png cannot be decoded (",
    ),
    "flipped bit": (
        lambda tree: flip(tree / "train/dog/0002.png"),
        "train/dog/0002.png cannot be decoded (",
    ),
    "wrong size": (
        replaced((8, 6, 3)),
        "test/cat/0001.png is 6x8 RGB, the data set needs 8x6 RGB: "
        "convert all its images, or name another folder",
    ),
    "gray": (replaced(SIZE), "test/cat/0001.png is 8x6 L, the data set needs 8x6 RGB"),
    "transparent": (replaced((*SIZE, 4)), "test/cat/0001.png is 8x6 RGBA, the data set needs"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["tree", "tar"])
@pytest.mark.parametrize("case", SPOILED)
def test_spoiled_data_is_refused_by_name(tree: Path, case: str, packed: bool) -> None:
    spoil, message = SPOILED[case]
    spoil(tree)
    root = make_tar(tree, tree.with_suffix(".tar.xz"), "cifar") if packed else tree
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        read(root)
    assert str(caught.value).startswith(f"{root}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz"])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_cut_tar_is_refused(tree: Path, suffix: str, keep: float) -> None:
    tar = make_tar(tree, tree.with_suffix(suffix))
    cut(tar, keep)
    if suffix == ".tar" and keep > 0.7:  # only the tar's empty last blocks are gone
        assert digest(read(tar)) == digest(read(tree))
        return
    with pytest.raises(UsageError, match=rf"{re.escape(str(tar))}.* again"):
        read(tar)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.xz"])
def test_flipped_bit_in_a_compressed_tar_is_refused_or_harmless(tree: Path, suffix: str) -> None:
    expected = digest(read(tree))
    tar = make_tar(tree, tree.with_suffix(suffix))
    intact = tar.read_bytes()
    refused = 0
    for at in range(60):
        tar.write_bytes(intact)
        flip(tar, at / 60)
        try:
            assert digest(read(tar)) == expected
        except UsageError as error:
            assert str(tar) in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > 50


def test_links_and_repeated_names_in_a_tar(tree: Path) -> None:
    link = tree / "train/cat/0001.png"
    link.unlink()
    link.symlink_to("0000.png")
    with pytest.raises(UsageError, match="train/cat/0001.png is a link, a device or a second"):
        read(make_tar(tree, tree.with_suffix(".tar")))
    link.unlink()
    picture(1).save(link)
    tar = make_tar(tree, tree.with_suffix(".tar"))
    with tarfile.open(tar, "a") as archive:
        archive.add(link, "./train/cat/0001.png")
    with pytest.raises(UsageError, match="second file of that name: pack plain files, each once"):
        read(tar)


def test_root_that_is_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"dataset.root=.*/none does not exist: name a folder"):
        read(tmp_path / "none")
    (tmp_path / "x.zip").touch()
    with pytest.raises(
        UsageError, match=r"x.zip is neither a folder nor a tar: .*\.tar\.xz of one"
    ):
        folder.identity(tmp_path / "x.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="train/cat holds 0 images"):
        read(tmp_path / "empty")
    (tmp_path / "empty/only.txt").touch()
    with pytest.raises(UsageError, match="train/cat holds 0 images"):
        read(tmp_path / "empty")


def test_dangling_link_in_a_tree_is_named(tree: Path) -> None:
    path = tree / "train/cat/0001.png"
    path.unlink()
    path.symlink_to("gone.png")
    for use in (read, folder.identity):
        with pytest.raises(UsageError, match=r"cannot be read to its end .*train/cat/0001.png"):
            use(tree)


def test_identity_changes_with_a_name_a_size_and_a_time_and_with_nothing_else(tree: Path) -> None:
    path = tree / "train/cat/0000.png"
    os.utime(path, ns=(1, 1))
    seen = [folder.identity(tree)]
    assert folder.identity(tree.rename(tree.with_name("moved"))) == seen[0]
    tree.with_name("moved").rename(tree)
    os.utime(path, ns=(1, 2))
    seen.append(folder.identity(tree))
    path.write_bytes(path.read_bytes() + b"\0")
    os.utime(path, ns=(1, 2))
    seen.append(folder.identity(tree))
    path.rename(path.with_name("0009.png"))
    seen.append(folder.identity(tree))
    tar = make_tar(tree, tree.with_suffix(".tar"))
    seen.append(folder.identity(tar))
    os.utime(tar)
    assert folder.identity(tar) == seen[-1]
    flip(tar)
    seen.append(folder.identity(tar))
    assert len(set(seen)) == len(seen)


def test_origin_is_that_of_every_file_not_of_a_sample(tmp_path: Path) -> None:
    assert read(make_tree(tmp_path / "png")).origin == "PNG folder"
    mixed = make_tree(tmp_path / "jpeg", "jpg", quality=75)
    assert read(mixed).origin == "JPEG q75"
    picture(0).save(mixed / "test/dog/0001.jpg", quality=90)
    assert read(mixed).origin == "mixed JPEG q75 and JPEG q90"
