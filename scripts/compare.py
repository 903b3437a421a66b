"""Two evaluated networks, image by image: the difference of their accuracies and its interval.

python scripts/compare.py RUN RUN
"""

from defensive_tensorization.commands.compare import main

if __name__ == "__main__":
    main()
