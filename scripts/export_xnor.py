"""Write a trained binary network with one bit a weight, and report its size against float32.

python scripts/export_xnor.py FILE method=baseline_identity dataset=cifar10 scale=cpu [key=value]

The overrides name the network as for the entrypoint; it is trained if it does not exist. FILE holds
a dictionary of tensors (torch.load(FILE, weights_only=True)): `<layer>.bits`, `<layer>.alpha` and,
in float32, what stays real. The architecture, its geometry and its scale K are the configuration's.
"""

import logging
import sys
from pathlib import Path

import torch

from defensive_tensorization import config as cfg
from defensive_tensorization.errors import UsageError, in_one_line
from defensive_tensorization.experiment import components
from defensive_tensorization.experiment.ensure import trained
from defensive_tensorization.experiment.plan import plan
from defensive_tensorization.xnor.packed import dense_size, packed, size


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    arguments = sys.argv[1:]
    with in_one_line("FILE"):
        if not arguments or "=" in arguments[0]:
            raise UsageError("name the file to write: python scripts/export_xnor.py FILE [key=...]")
        described = plan(cfg.composed(arguments[1:]))
        packed(
            components.network(described)
        )  # what cannot be exported is refused before it is trained
        network = trained(described).network.cpu()
        state, dense = packed(network), dense_size(network)
        file = Path(arguments[0])
        torch.save(state, file)
    bits = sum(value.nbytes for name, value in state.items() if name.endswith("bits"))
    print(f"{described.name}: {len([n for n in state if n.endswith('bits')])} binary layers")
    print(f"  float32          {dense:12,} bytes")
    print(f"  packed           {size(state):12,} bytes, 1/{dense / size(state):.1f}")
    print(f"    binary weights {bits:12,} bytes, the rest is float32")
    print(f"wrote {file}, {file.stat().st_size:,} bytes on disk")


if __name__ == "__main__":
    main()
