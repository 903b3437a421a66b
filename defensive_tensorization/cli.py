"""The command's first word: what it names is imported, and nothing else.

defensive-tensorization [group=option ...] [key=value ...]     train if needed, attack, score
defensive-tensorization audit [RUN] [key=value ...]            can a robust accuracy be believed?
defensive-tensorization doctor                                 what this machine has, on one screen
defensive-tensorization --version

`python -m defensive_tensorization` is the same.
"""

import sys
from difflib import get_close_matches
from importlib import import_module

from . import __version__
from .errors import UsageError, in_one_line
from .system import cores

COMMANDS = {"audit": ".commands.audit", "doctor": ".commands.doctor"}


def main() -> None:
    """Exit code 2 and one line where the command needs an extra that is not installed."""
    words = sys.argv[1:]
    if "--version" in words:
        print(f"defensive-tensorization {__version__}")
        return
    cores.prepare()  # whatever is imported next may load torch
    module = ".run"
    if words and words[0] in COMMANDS:
        module = COMMANDS[words[0]]
        del sys.argv[1]
    with in_one_line("paths.runs"):
        first = words[0] if words and module == ".run" else "="
        if "=" not in first and (near := get_close_matches(first, COMMANDS, 1)):
            raise UsageError(f"{first} is no command: did you mean {near[0]}?")
        import_module(module, __package__).main()
