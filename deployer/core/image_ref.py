"""References of images, taken apart as Docker does it."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_REGISTRY = "docker.io"
_DEFAULTS = ("index.docker.io/library/", "index.docker.io/", "docker.io/library/", "docker.io/", "library/")


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
