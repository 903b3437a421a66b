"""Hold the released networks against the committed rows, on a subset of the test set.

python scripts/verify.py scale=cpu dataset=cifar10 dataset.source=folder dataset.root=PATH
"""

from defensive_tensorization.commands.verify import main

if __name__ == "__main__":
    main()
