"""`make golden`: compute every golden value anew, say what changed, and write it.

    make golden                 identities, streams and numbers: some minutes
    make golden ARGS=--slow     AutoAttack's numbers too
    make golden ARGS=--check    say what would change, write nothing; exit 1 if anything would

Look at what changed before committing it: a refactoring changes nothing here.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from . import identities, networks, numbers, streams
from .files import changes, read, write


def main(words: list[str]) -> int:
    if strange := [word for word in words if word not in ("--slow", "--check")]:
        print(f"{strange[0]} is no option of make golden: take --slow or --check", file=sys.stderr)
        return 2
    if not networks.WEIGHTS.exists():
        print("training the fixed weights anew: every number of an attack will change")
        with tempfile.TemporaryDirectory() as folder:
            networks.train_weights(Path(folder))
    files: dict[Path, Callable[[], Mapping[str, Any]]] = {
        identities.FILE: identities.found,
        streams.FILE: streams.found,
        numbers.FILE: numbers.renewed,
    }
    if "--slow" in words:
        files[numbers.SLOW] = partial(numbers.renewed, slow=True)
    changed = False
    for path, make in files.items():
        made = make()
        told = changes(read(path), made)
        print(f"{path.name}: {len(told)} of {len(made)} changed", *told, sep="\n  ")
        changed = changed or bool(told)
        if "--check" not in words:
            write(path, made)
    return int(changed and "--check" in words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
