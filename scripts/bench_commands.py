"""Commands that a benchmark times as a user would run them."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(words: Sequence[str]) -> None:
    """Run a command at the root of the repository; where it fails, exit with what it says."""
    done = subprocess.run(words, cwd=ROOT, capture_output=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)} failed:\n{done.stderr.decode()}")
