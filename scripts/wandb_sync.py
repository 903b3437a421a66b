"""Upload the runs that W&B recorded offline; those that it has are skipped.

python scripts/wandb_sync.py --limit 600
"""

from defensive_tensorization.commands.wandb_sync import main

if __name__ == "__main__":
    main()
