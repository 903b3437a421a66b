"""Run Foolbox 1.8 itself, and write what it did for tests/test_foolbox1.py.

    python scripts/foolbox1_fixture.py                      # make foolbox1-fixture

Makes an environment of its own in a temporary folder, with the Foolbox of the package index, and
runs FGSM, BIM and PGD image by image on two small networks of numpy: one deterministic, one whose
hidden units are drawn anew at every forward and every gradient. Written are versions, seeds,
weights, inputs, labels, starts, and for each attack the examples (NaN where it found none).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PACKAGES = ("foolbox==1.8.0", "numpy==1.26.4", "scipy==1.11.4")  # NumPy 2 promotes float32
OUT = Path(__file__).parents[1] / "tests" / "fixtures" / "foolbox1.npz"

SEED = 0
SHAPE, HIDDEN, CLASSES = (2, 6, 6), 24, 5
KEEP = 0.85  # probability of a hidden unit in a forward of the random network
UNIT = 1 / 255
SIZES = (2, 8, 16)
ROUNDS = 20  # of the random network: each image is attacked so often, every time anew


def in_environment(out: Path) -> None:
    """Make the environment, and run this file in it."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
        subprocess.run([python, str(Path(__file__).resolve()), "--here", "--out", out], check=True)


def here(out: Path) -> None:
    """Attack both networks; needs Foolbox 1.8."""
    import collections
    import collections.abc
    import logging
    import warnings

    logging.disable()  # that the distance is not l-infinity: a user took the default
    warnings.simplefilter("ignore")  # that an image is missed already, or no example found
    collections.Iterable = collections.abc.Iterable  # type: ignore[attr-defined]  # gone since 3.10
    import foolbox
    import numpy as np

    random = np.random.RandomState(SEED)
    pixels = int(np.prod(SHAPE))
    weights = {
        "w1": random.normal(0, 1.6 / pixels**0.5, (HIDDEN, pixels)),
        "b1": random.normal(0, 0.1, HIDDEN),
        "w2": random.normal(0, 1.5 / HIDDEN**0.5, (CLASSES, HIDDEN)),
        "b2": random.normal(0, 0.05, CLASSES),
    }
    # numbers of float32 in float64: a binary search goes down to the rounding of float32
    weights = {name: value.astype(np.float32).astype(float) for name, value in weights.items()}

    class Network(foolbox.models.DifferentiableModel):
        """x to w2 (mask * tanh(4 (w1 (2 x - 1) + b1))) + b2; no mask where nothing is random."""

        def __init__(self, masks=None):
            super().__init__(bounds=(0, 1), channel_axis=1)
            self.masks = masks

        def num_classes(self):
            return CLASSES

        def mask(self):
            if self.masks is None:
                return np.ones(HIDDEN)
            return (self.masks.uniform(size=HIDDEN) < KEEP).astype(float)

        def pass_(self, x):
            h = np.tanh(4 * (weights["w1"] @ (2 * x.reshape(-1) - 1) + weights["b1"]))
            mask = self.mask()
            return weights["w2"] @ (mask * h) + weights["b2"], h, mask

        def batch_predictions(self, images):
            return np.stack([self.pass_(x)[0] for x in images])

        def predictions_and_gradient(self, image, label):
            z, h, mask = self.pass_(image)
            p = np.exp(z - z.max())
            p = p / p.sum()
            p[label] -= 1
            return z, self.back(p, h, mask).reshape(image.shape)

        def backward(self, gradient, image):
            _, h, mask = self.pass_(image)
            return self.back(gradient, h, mask).reshape(image.shape)

        def back(self, by_z, h, mask):
            by_h = (weights["w2"].T @ by_z) * mask * (1 - h**2) * 4
            return 2 * (weights["w1"].T @ by_h)

    plain = Network()
    images = random.uniform(size=(400, *SHAPE)).astype(np.float32).astype(float)
    images[random.uniform(size=images.shape) < 0.1] = 0
    images[random.uniform(size=images.shape) < 0.1] = 1
    logits = plain.batch_predictions(images)
    top = np.sort(logits)[:, -2:]
    margin = top[:, 1] - top[:, 0]
    chosen = np.argsort(margin)[:: len(margin) // 40][:40]  # from the boundary to far away
    images, labels = images[chosen], logits[chosen].argmax(1)
    labels[::8] = (labels[::8] + 1) % CLASSES  # some are missed before any attack

    steps = {size: int(min(size + 4, 1.25 * size)) for size in SIZES}
    found: dict[str, np.ndarray] = {}
    calls: dict[str, np.ndarray] = {}

    def attacked(attack, network, seed=None, **options):
        """The examples of each image, starts seeded by its number; also its predictions."""
        made, asked = [], []
        for i, (x, y) in enumerate(zip(images, labels, strict=True)):
            foolbox.set_seeds(SEED + i if seed is None else seed * 1000 + i)
            criterion = foolbox.criteria.Misclassification()
            adversarial = foolbox.Adversarial(network, criterion, x, int(y))
            attack()(adversarial, **options)
            none = np.full(SHAPE, np.nan)
            made.append(none if adversarial.image is None else adversarial.image)
            asked.append(adversarial._total_prediction_calls)
        return np.stack(made), np.array(asked)

    def noise(size):
        """RandomStart.. draws this for image i after set_seeds(SEED + i), in units of epsilon."""
        starts = []
        for i in range(len(images)):
            foolbox.set_seeds(SEED + i)
            epsilon = size * UNIT
            starts.append(foolbox.nprng.uniform(-epsilon, epsilon, SHAPE) / epsilon)
        return np.stack(starts)

    fgsm, bim, pgd = (
        foolbox.attacks.GradientSignAttack,
        foolbox.attacks.LinfinityBasicIterativeAttack,
        foolbox.attacks.RandomStartProjectedGradientDescentAttack,
    )
    for size in SIZES:
        epsilon = size * UNIT
        cases = {
            f"fgsm_1000_{size}": (fgsm, {"max_epsilon": epsilon}),
            f"fgsm_30_{size}": (fgsm, {"max_epsilon": epsilon, "epsilons": 30}),
            f"fgsm_listed_{size}": (fgsm, {"epsilons": [epsilon]}),
        }
        for name, attack in (("bim", bim), ("pgd", pgd)):
            for search in ("off", "on"):
                if (name, search) != ("pgd", "on"):  # one start a run: no equality to test
                    options = {"epsilon": epsilon, "stepsize": UNIT, "iterations": steps[size]}
                    cases[f"{name}_{search}_{size}"] = (
                        attack,
                        {**options, "binary_search": search == "on"},
                    )
        for name, (attack, options) in cases.items():
            found[name], calls[name] = attacked(attack, plain, **options)
            if "1000" in name:
                continue
            masks = np.random.RandomState(SEED + 1)
            rounds = [
                attacked(attack, Network(masks), seed=1 + r, **options)[0] for r in range(ROUNDS)
            ]
            examples = np.stack(rounds)
            none = np.isnan(examples).reshape(ROUNDS, len(images), -1).any(2)
            same = (examples == images).reshape(ROUNDS, len(images), -1).all(2)
            scored = Network(np.random.RandomState(SEED + 2))
            shown = np.where(none[..., None, None, None], images, examples)
            right = [
                [scored.predictions(e).argmax() == y for e, y in zip(r, labels, strict=True)]
                for r in shown
            ]
            found[f"random_{name}"] = np.stack([none, same, np.array(right)]).astype(np.uint8)

    versions = {"foolbox": foolbox.__version__, "numpy": np.__version__}
    versions["python"] = sys.version.split()[0]
    settings = {"seed": SEED, "keep": KEEP, "unit": UNIT, "sizes": SIZES, "rounds": ROUNDS}
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        out,
        about=json.dumps({**settings, "packages": PACKAGES, "versions": versions}),
        labels=labels,
        noise=noise(1),
        **{name: each.astype(np.float32) for name, each in weights.items()},
        images=images.astype(np.float32),
        **{n: a if a.dtype == np.uint8 else a.astype(np.float32) for n, a in found.items()},
        **{f"predictions_{name}": value for name, value in calls.items()},
    )
    print(f"{out}: {out.stat().st_size / 1000:.0f} kB, {json.dumps(versions)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=OUT, help="where to write (%(default)s)")
    parser.add_argument("--here", action="store_true", help="this environment has Foolbox 1.8")
    given = parser.parse_args()
    if given.here:
        here(given.out)
    else:
        in_environment(given.out.resolve())


if __name__ == "__main__":
    main()
