"""What has been trained and evaluated, and what each table at a scale still lacks.

python scripts/list.py scale=cpu
"""

from defensive_tensorization.commands.status import main

if __name__ == "__main__":
    main()
