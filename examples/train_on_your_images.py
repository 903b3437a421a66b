"""Train on a folder of your own images, {train,test}/<class>/*, and attack the network.

python examples/train_on_your_images.py --root PATH scale=smoke theta=0.9
python examples/train_on_your_images.py                            # on images that it makes up

The data set is two files: examples/own_images/own_images.py and own_images/dataset/own_images.yaml.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

parser = argparse.ArgumentParser()
parser.add_argument("--root", type=Path)
asked, words = parser.parse_known_args()


def made_up(folder: Path) -> Path:
    """Two classes, discs and squares on noise: 200 images to train on, 60 to test."""
    rng = np.random.default_rng(0)
    across = np.abs(np.indices((32, 32)) - 15.5)
    shapes = {"disc": np.hypot(*across) < 9, "square": across.max(0) < 8}
    for part, count in (("train", 100), ("test", 30)):
        for name, shape in shapes.items():
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 120, (32, 32, 3))
                pixels[np.roll(shape, rng.integers(-4, 5, 2), (0, 1))] += 100
                Image.fromarray(pixels.astype(np.uint8)).save(folder / part / name / f"{i}.png")
    return folder


with tempfile.TemporaryDirectory() as folder:
    root = asked.root or made_up(Path(folder, "shapes"))
    options = Path(__file__).parent / "own_images"
    command = [
        *(sys.executable, "-m", "defensive_tensorization"),
        f"hydra.searchpath=[file://{options}]",
        *("dataset=own_images", f"dataset.root={root}"),
        *("scale=smoke", "attack=[fgsm,pgd]", "eval.epsilon=[2,8]", "eval.images=60"),
        *("model.reference=64", "train.batch_size=32", "logger=none", *words),
    ]
    sys.exit(subprocess.run(command).returncode)
