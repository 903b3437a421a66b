"""Where released networks lie: the repository, a folder, or a URL."""

from __future__ import annotations

import re
import urllib.request
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

from ..errors import UsageError

RESULTS = Path(__file__).parents[2] / "results"
SCHEMES = ("https://", "http://", "file://")
TIMEOUT = 60  # seconds without an answer


@dataclass(frozen=True)
class Source:
    """A folder, or the URL of one. Raises UsageError for a malformed URL."""

    at: str

    def __post_init__(self) -> None:
        if reason := _malformed(self.at):
            raise UsageError(
                f"{self.at!r} is no folder or URL ({reason}): write one such as "
                "https://HOST/networks, with %20 for a blank in a URL"
            )

    def __str__(self) -> str:
        return self.at

    @property
    def is_url(self) -> bool:
        return self.at.startswith(SCHEMES)

    def shown(self, file: str) -> str:
        return f"{self.at.rstrip('/')}/{file}"

    def read(self, file: str) -> bytes:
        """Return a file's bytes. Raises UsageError where they cannot be had."""
        where = self.shown(file)
        try:
            if not self.is_url:
                return Path(where).expanduser().read_bytes()
            with urllib.request.urlopen(where, timeout=TIMEOUT) as answer:
                return bytes(answer.read())
        except (OSError, URLError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            raise UsageError(
                f"{where} cannot be read ({' '.join(str(reason).split())}): name a released "
                "network, a folder of them, or a URL"
            ) from error

    def verified(self, file: str, checksum: str) -> bytes:
        """Return a file's bytes. Raises UsageError where their sha256 is another one."""
        content = self.read(file)
        if (found := sha256(content).hexdigest()) != checksum:
            raise UsageError(
                f"{self.shown(file)} has sha256 {found[:16]}..., the manifest says "
                f"{checksum[:16]}...: it is damaged or not the file that was released, fetch it "
                "again"
            )
        return content


def _malformed(at: str) -> str | None:
    """Why a folder or URL cannot be one; None where it can."""
    if found := re.search(r"[\x00-\x1f\x7f]", at):
        return f"it holds {found[0]!r}"
    if not at.startswith(SCHEMES):
        return None
    try:
        split, _ = urlsplit(at), urlsplit(at).port
    except ValueError as error:
        return str(error)
    if split.scheme == "file":
        return None if split.netloc in ("", "localhost") else "file:// is followed by a path from /"
    if found := re.search(r"[^!-~]", at):
        return f"a URL holds no {found[0]!r}"
    return None if split.hostname else "it names no host"


def of_scale(scale: str) -> Path:
    """Return the repository's folder of the networks of a scale, whether or not it is there."""
    return RESULTS / scale / "networks"


def holding(network: str) -> Path:
    """Return the repository's folder that has the network, or others of its group; else cpu's."""
    folders = sorted(RESULTS.glob("*/networks"))
    wanted = (f"{network}.safetensors", network.partition("/")[0])
    found = (folder for name in wanted for folder in folders if (folder / name).exists())
    return next(found, of_scale("cpu"))


def split(given: str) -> tuple[Source, str]:
    """Return the source and the network's name, which is always two words: GROUP/NETWORK.

    given  a name of the repository's, or one behind a folder or a URL; ".safetensors" may follow.
    """
    words = given.removesuffix(".safetensors").split("/")
    name = "/".join(words[-2:])
    before = "/".join(words[:-2])
    if any(ord(character) < 32 for character in given):
        raise UsageError(f"{given!r} is no name of a network: leave out the control character")
    if "://" in given and not given.startswith(SCHEMES):
        raise UsageError(f"{given}: take a URL of {', '.join(SCHEMES)} or a folder")
    cut = given.startswith(SCHEMES) and not before.startswith(SCHEMES)  # no name behind the host
    if len(words) < 2 or cut or not all(words[-2:]):
        raise UsageError(
            f"{given!r} is no name of a network: write GROUP/NETWORK, such as "
            "cifar10-resnet18-w16/theta-0.9, after the folder or URL that holds it, if any"
        )
    if not before and not given.startswith("/"):
        return Source(str(holding(name))), name
    return Source(before or "/"), name
