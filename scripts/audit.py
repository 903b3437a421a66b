"""Can a robust accuracy be believed? Checks, a verdict in words, a page: docs/audit.md.

python scripts/audit.py RUN_OR_FINGERPRINT audit.epsilon=8
python scripts/audit.py dataset=cifar10 scale=cpu theta=0.9
"""

from defensive_tensorization.commands.audit import main

if __name__ == "__main__":
    main()
