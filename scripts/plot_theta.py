"""Accuracy against theta, from the rows of a multirun.

python scripts/plot_theta.py dataset=cifar10 scale=cpu theta=1,0.95,0.9,0.8
"""

from defensive_tensorization.tables.theta import main

if __name__ == "__main__":
    main()
