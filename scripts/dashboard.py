"""Create the W&B dashboard of a data set and a scale, or bring it up to date.

python scripts/dashboard.py scale=cpu
"""

from defensive_tensorization.commands.dashboard import main

if __name__ == "__main__":
    main()
