"""Release the finished networks of a runs folder: results/SCALE/networks.

python scripts/release_networks.py paths.runs=runs scale=cpu dataset.root=PATH
"""

from defensive_tensorization.commands.release_networks import main

if __name__ == "__main__":
    main()
