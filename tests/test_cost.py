"""What scripts/cost.py counts, against numbers published elsewhere and worked out by hand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from torchvision.models import ResNet50_Weights

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_operations_are_those_that_torchvision_publishes() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "cost.py"), "--counts", "--batch", "64"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    (dense,) = re.findall(r"^\| dense \| (.*) \|$", done.stdout, re.MULTILINE)
    training, attack, _, forward = map(float, dense.split(" | "))
    published = 2 * ResNet50_Weights.IMAGENET1K_V1.meta["_ops"]  # GMAC
    assert forward == pytest.approx(published, rel=0.01)
    stem = 2 * 64 * 3 * 7**2 * 112**2 / 1e9  # whose input needs no gradient in training
    assert training == pytest.approx(3 * forward - stem, abs=0.1)
    assert attack == pytest.approx(2 * forward, abs=0.1)
    assert "193 GB" in done.stdout  # 1,281,167 images of 3 x 224 x 224 bytes
