"""python -m defensive_tensorization: train if needed, attack, score. See cli.py and run.py."""

from .cli import main

if __name__ == "__main__":
    main()
