"""Draw and write clips, their adversarial twins and the difference.

python scripts/listen.py scale=cpu method=ours_0.9
"""

from defensive_tensorization.commands.audio_examples import main

if __name__ == "__main__":
    main()
