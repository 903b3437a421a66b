"""Whether W&B is wanted online, offline or not at all, and whether there is a key for it."""

import netrc
import os
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from defensive_tensorization.errors import UsageError

Mode = Literal["online", "offline", "disabled"]
MODES: dict[str, Mode] = {
    "online": "online",
    "offline": "offline",
    "disabled": "disabled",
    "run": "online",  # W&B's older names, still found in people's WANDB_MODE
    "dryrun": "offline",
}
REMEDY = "run `wandb login` or set WANDB_API_KEY"


def mode_of(configured: str) -> Mode:
    """The mode that will be used: WANDB_MODE may change offline.

    Raises UsageError for an unknown mode, and for online without a key.
    """
    name, source = configured, "logger.mode"
    if configured == "offline" and "WANDB_MODE" in os.environ:
        name, source = os.environ["WANDB_MODE"], "WANDB_MODE"
    if name not in MODES:
        raise UsageError(f"{source} must be online, offline or disabled, got {name!r}")
    if MODES[name] == "online" and not has_key():
        raise UsageError(
            f"{source}={name} needs a W&B key and none was found: "
            f"{REMEDY}, or take logger.mode=offline"
        )
    return MODES[name]


def has_key() -> bool:
    """Whether W&B would find credentials; they are not read further than that."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc
    home = Path.home()
    files = [os.environ["NETRC"]] if "NETRC" in os.environ else [home / ".netrc", home / "_netrc"]
    return any(_names(Path(file).expanduser(), host) for file in files)


def _names(file: Path, host: str) -> bool:
    try:
        return netrc.netrc(file).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
