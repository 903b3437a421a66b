"""python -m defensive_tensorization: train if needed, attack, score. See run.py."""

from .run import main

if __name__ == "__main__":
    main()
