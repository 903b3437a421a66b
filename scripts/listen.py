"""Draw and write clips, their adversarial twins and the difference.

python scripts/listen.py scale=cpu method=ours_0.9
"""

from defensive_tensorization.listen import main

if __name__ == "__main__":
    main()
