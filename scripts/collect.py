"""Bring together the rows of machines that share no file system.

make collect FROM="A/runs B/runs"                # into runs/rows; then make render-...
python scripts/collect.py A/runs B/runs runs/rows
"""

from defensive_tensorization.commands.merge_rows import main

if __name__ == "__main__":
    main()
