"""Train and attack a network at several thetas, and plot accuracy against theta.

python examples/theta_sweep.py dataset=cifar10 scale=cpu
python examples/theta_sweep.py                                     # digits, a few minutes

A rerun goes on where it was stopped. Scores are of 30 draws an image, so that `make compare A=RUN
B=RUN` can pair two of the networks. The same by hand: python -m defensive_tensorization -m
theta=1,0.95,0.9,0.8, then make plot-theta.
"""

import subprocess
import sys

from defensive_tensorization.errors import in_one_line
from defensive_tensorization.tables.theta import plotted

asked = sys.argv[1:]
if "--help" in asked:
    print(__doc__)
    sys.exit()
words = ["attack=[pgd]", "eval.epsilon=[2,8]", "eval.draws=30", "train.lr_scale=0.1", "logger=none"]
words += asked
if not any(word.startswith("theta=") for word in words):
    words.append("theta=1,0.95,0.9,0.8")

sweep = [sys.executable, "-m", "defensive_tensorization", "-m", *words]
if code := subprocess.run(sweep).returncode:
    sys.exit(code)  # its last line says why

with in_one_line("paths.runs"):  # what the library refuses is one line
    plotted(words)  # prints the numbers, and writes a figure and a csv beside the rows
