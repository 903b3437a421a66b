"""The digits against scikit-learn's own arrays."""

from pathlib import Path

import numpy as np
import pytest
import torch

from defensive_tensorization.data import decode, digits


def test_images_are_the_bundled_ones_upscaled_and_labels_go_with_them() -> None:
    from sklearn.datasets import load_digits

    source = load_digits()
    task = digits.load(name="digits", unit=1 / 255)
    assert task.train.inputs.shape == (1437, 3, 32, 32) and len(task.test) == 360
    inputs = torch.cat([task.train.inputs, task.test.inputs])
    assert inputs.dtype == torch.uint8
    for channel in (1, 2):
        assert torch.equal(inputs[:, 0], inputs[:, channel])
    blocks = inputs[:, 0].reshape(-1, 8, 4, 8, 4).permute(0, 1, 3, 2, 4).reshape(-1, 8, 8, 16)
    assert torch.equal(blocks.amin(-1), blocks.amax(-1)), "4x4 blocks of one value"
    # by hand: a value v of 0..16 is v * 255 / 16, rounded
    table = [0, 16, 32, 48, 64, 80, 96, 112, 128, 143, 159, 175, 191, 207, 223, 239, 255]
    images = [[[table[v] for v in row] for row in image] for image in source.images.astype(int)]
    labels = torch.cat([task.train.labels, task.test.labels]).tolist()
    seen = sorted(zip(blocks[..., 0].tolist(), labels, strict=True))
    assert seen == sorted(zip(images, source.target.tolist(), strict=True))


def test_split_is_stratified_and_fixed(tmp_path: Path) -> None:
    task = digits.load(name="digits", unit=1 / 255)
    train, test = (np.bincount(split.labels) for split in (task.train, task.test))
    np.testing.assert_allclose(test / (train + test), 360 / 1797, atol=0.005)
    again = digits.load(name="digits", unit=1 / 255, cache=tmp_path)
    cached = digits.load(name="digits", unit=1 / 255, cache=tmp_path)
    assert task.digest == again.digest == cached.digest == "208ba153090ae67e"
    assert torch.equal(cached.test.inputs, task.test.inputs)


def test_what_a_model_and_a_caption_are_told() -> None:
    task = digits.load(name="digits", unit=1 / 255)
    assert task.title == "scikit-learn digits, 1,797 images upscaled to 3x32x32"
    assert task.classes == tuple("0123456789")
    assert not task.flip and task.bounds == (0.0, 1.0) and task.unit == 1 / 255
    pixels = decode(task.train.inputs).double()
    assert task.mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist(), abs=1e-3)
    assert task.std == pytest.approx(pixels.std(dim=(0, 2, 3)).tolist(), abs=1e-3)
