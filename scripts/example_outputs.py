"""Run the scripts of examples/ at toy size; keep what they print for the site: docs/outputs/.

python scripts/example_outputs.py [NAME ...]
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES, OUTPUTS = ROOT / "examples", ROOT / "docs" / "outputs"
VERSIONS = OUTPUTS / "versions.json"

TOY = ("model.width=2", "train.epochs=1", "eval.images=6", "eval.runs=1", "device=cpu")
NETWORK = ("theta=1", "train.images=64", "attack=[]", "logger=none")  # that is loaded and attacked
RUNS = {
    "tensorize_torchvision": ("--steps", "2", "--theta", "0.8"),
    "train_on_your_images": (*TOY, "train.images=64"),
    "theta_sweep": (*TOY, "theta=1,0.9", "train.images=64", "model.reference=16"),
    "audit_a_defence": ("--batches", "20", "--images", "6", "--steps", "2"),
    "load_and_attack": (
        *("results/smoke/networks/digits-resnet18-w2/theta-1", "--images", "6", "--steps", "2"),
    ),
}


def ran(where: Path, *words: str) -> str:
    """Standard output of a Python command in that folder; RuntimeError where it fails or warns."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=where,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    if done.returncode or done.stderr:
        raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def printed(name: str, where: Path) -> str:
    """What an example prints at toy size. `where`: an empty folder to run in."""
    if name == "load_and_attack":
        ran(where, "-m", "defensive_tensorization", *TOY, *NETWORK)
        ran(where, str(ROOT / "scripts" / "release_networks.py"), "scale=smoke")
    return ran(where, str(EXAMPLES / f"{name}.py"), *RUNS[name])


def version(name: str) -> str:
    """A digest of an example's files and of the words that it is run with."""
    files = [EXAMPLES / f"{name}.py"]
    if name == "train_on_your_images":
        files += sorted(file for file in (EXAMPLES / "own_images").rglob("*.[py]*[yl]"))
    found = hashlib.sha256(json.dumps(RUNS[name]).encode())
    for file in files:
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


def stored(name: str, output: str, folder: str) -> str:
    """As a terminal would show it; the folder of this one run is left out."""
    words = " ".join(f"'{word}'" if set(word) & set("[]") else word for word in RUNS[name])
    lines = (line.rstrip() for line in output.replace(f"{folder}/", "").splitlines())
    return "\n".join([f"$ python examples/{name}.py {words}", *lines, ""])


def main() -> None:
    """Renew the stored output of the examples that are named, or of all."""
    names = sys.argv[1:] or list(RUNS)
    if unknown := sorted(set(names) - set(RUNS)):
        sys.exit(f"error: no example is called {', '.join(unknown)}: take {', '.join(RUNS)}")
    OUTPUTS.mkdir(exist_ok=True)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            text = stored(name, printed(name, Path(folder)), folder)
        (OUTPUTS / f"{name}.txt").write_text(text)
        versions = json.loads(VERSIONS.read_text()) if VERSIONS.is_file() else {}
        versions[name] = version(name)
        VERSIONS.write_text(json.dumps(versions, indent=1, sort_keys=True) + "\n")
        print(f"wrote docs/outputs/{name}.txt")


if __name__ == "__main__":
    main()
