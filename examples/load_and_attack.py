"""Load a released network and attack it, one draw a step and averaged over draws.

python examples/load_and_attack.py cifar10-resnet18-w16/theta-0.9 --root data --download
python examples/load_and_attack.py cifar10-resnet18-w16/theta-0.9 --source folder --root images.tar
"""

import argparse

import defensive_tensorization as dt
from defensive_tensorization.data import cifar10, decode, digits

parser = argparse.ArgumentParser()
parser.add_argument("network", help="GROUP/NETWORK, of the repository, a folder or a URL")
parser.add_argument("--source", default="torchvision", choices=("torchvision", "folder"))
parser.add_argument("--root", default="data", help="where CIFAR-10 lies: a folder or a tar")
parser.add_argument("--download", action="store_true", help="CIFAR-10 to --root, by torchvision")
parser.add_argument("--images", type=int, default=100)
parser.add_argument("--steps", type=int, default=20)
asked = parser.parse_args()

try:
    net = dt.load(asked.network)  # its checksum is verified; nothing in the file is run
    print(net.card.card)
    if net.card.name.startswith("digits"):
        task = digits.load(name="digits", unit=1 / 255)
    else:
        where = {"source": asked.source, "root": asked.root, "download": asked.download}
        task = cifar10.load(name="cifar10", unit=1 / 255, **where)
    if task.digest != net.card.data_digest:
        print(f"it was trained on {net.card.data}; these images are {task.title}")
    chosen = task.test.part(asked.images, "--images")

    epsilon, steps = 2 / 255, asked.steps
    found = dt.evaluate(
        net,
        (decode(chosen.inputs), chosen.labels),
        attacks=[
            dt.attacks.pgd(epsilon=epsilon, steps=steps),  # one draw a step: flatters it
            dt.attacks.eot_pgd(epsilon=epsilon, steps=steps, samples=10),  # averages over draws
        ],
        samples=10,
    )
except ValueError as error:  # what the library refuses is one line
    parser.error(f"{error} (dataset.KEY is --KEY here)")
print(found)
