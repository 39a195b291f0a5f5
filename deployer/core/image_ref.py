"""References of images, taken apart as Docker does it."""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT_REGISTRY = "docker.io"
_DEFAULTS = ("index.docker.io/library/", "index.docker.io/", "docker.io/library/", "docker.io/", "library/")
_REGISTRY = re.compile(r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::\d+)?")
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|(?!sha256:)[A-Za-z][A-Za-z0-9+._-]*:[0-9a-fA-F]{32,}")


@dataclass(frozen=True, slots=True)
class ImageRef:
    """`[registry/]path[:tag][@digest]`; what is not written is empty."""

    name: str
    """Registry and path, as written."""
    tag: str = ""
    digest: str = ""

    @property
    def registry(self) -> str:
        """The registry's host, and port if any: a first part with a dot or colon, or `localhost`."""
        first, slash, _ = self.name.partition("/")
        return first if slash and ("." in first or ":" in first or first == "localhost") else ""

    @property
    def last(self) -> str:
        """The last part of the path."""
        return self.name.rpartition("/")[2]

    @property
    def short(self) -> str:
        """The name without the default registry and `library/`."""
        return next((self.name.removeprefix(one) for one in _DEFAULTS if self.name.startswith(one)), self.name)

    @property
    def familiar(self) -> str:
        """The reference as `docker images` names it: the short name and a tag, or the digest where that is alone."""
        if self.digest and not self.tag:
            return f"{self.short}@{self.digest}"
        return f"{self.short}:{self.tag or 'latest'}"


def parse_ref(text: str) -> ImageRef:
    """The parts of a reference; none of them is checked."""
    whole, _, digest = text.partition("@")
    name, colon, tag = whole.rpartition(":")
    return ImageRef(name, tag, digest) if colon and "/" not in tag else ImageRef(whole, "", digest)


def is_reference(text: str) -> bool:
    """Whether Docker and the kubelet take the text for the name of an image (docs of the distribution project)."""
    ref = parse_ref(text)
    first, slash, rest = ref.name.partition("/")
    host = first if slash and (ref.registry or first != first.lower()) else ""
    named = text.partition("@")[0] == (f"{ref.name}:{ref.tag}" if ref.tag else ref.name)
    whole = named and ("@" in text) == bool(ref.digest)
    return bool(
        whole
        and (not host or _REGISTRY.fullmatch(host))
        and _PATH.fullmatch(rest if host else ref.name)
        and (not ref.tag or _LABEL.fullmatch(ref.tag))
        and (not ref.digest or _DIGEST.fullmatch(ref.digest))
    )
