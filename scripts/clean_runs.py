"""Delete what runs have made, after asking.

python scripts/clean_runs.py [WORD ...] [--yes]
"""

from defensive_tensorization.commands.clean import main

if __name__ == "__main__":
    main()
