"""Image tags: which tag a content gets under each policy; a tag never names two contents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from deployer.core.errors import input_error

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")  # OCI distribution specification, "Pulling manifests"
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag; `reason` says why a content digest stands where the policy would have a commit."""

    text: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Commit:
    """The commit that a build context is at, and whether the tree differs from it in nothing."""

    sha: str
    clean: bool


def validated_tag(tag: str) -> str:
    """The tag, which a registry and Kubernetes accept and which is not `latest`; input error otherwise."""
    if tag.lower() == "latest":
        raise input_error(
            "TAG_LATEST",
            "the tag `latest` cannot be used",
            detail="Kubernetes pulls `latest` at every start, and no rollback can name what ran before",
            hints=("use a tag of a version, such as 1.0.0",),
        )
    if not _TAG.fullmatch(tag):
        raise input_error(
            "TAG_INVALID",
            f"`{tag[:140]}` is not an image tag",
            detail="up to 128 letters, digits, `_`, `.` and `-`, starting with a letter, a digit or `_`",
            hints=("correct the tag in the spec",),
        )
    return tag


def digest_tag(version: str, digest: str) -> Tag:
    """X.Y.Z-<digest12>: the same content has the same tag, another content another one."""
    return Tag(validated_tag(f"{_checked(version)}-{_short(digest, 12)}"))


def semver_tag(version: str, digest: str, used: Mapping[str, str]) -> Tag:
    """X.Y.Z when it is unused or has this content, else the patch number of this content, else the next one.

    `used` maps the tags that exist to the digests of their contents.
    """
    major, minor, patch = map(int, _checked(version).split("."))
    _short(digest, 12)
    if used.get(version, digest) == digest:
        return Tag(validated_tag(version))
    patches = sorted(
        (int(match[3]), content)
        for tag, content in used.items()
        if (match := _VERSION.fullmatch(tag)) and (int(match[1]), int(match[2])) == (major, minor)
    )
    later = [(number, content) for number, content in patches if number >= patch]
    same = [number for number, content in later if content == digest]
    # Above the highest, not into a gap: a gap may be a version that was pruned and is still known by name.
    number = same[0] if same else later[-1][0] + 1
    return Tag(validated_tag(f"{major}.{minor}.{number}"))


def semver_commit_tag(version: str, digest: str, commit: Commit | None, used: Mapping[str, str]) -> Tag:
    """X.Y.Z-<commit7> for a clean tree; else, or when that tag has another content, X.Y.Z-<digest12>."""
    fallback = digest_tag(version, digest).text
    if commit is None:
        return Tag(fallback, "not in a git repository")
    if not commit.clean:
        return Tag(fallback, f"the tree differs from commit {_short(commit.sha, 7)}")
    tag = validated_tag(f"{version}-{_short(commit.sha, 7)}")
    if used.get(tag, digest) != digest:
        # Build arguments and git-ignored files change a content without changing the commit.
        return Tag(fallback, f"`{tag}` already names another content of the same commit")
    return Tag(tag)


def _checked(version: str) -> str:
    if not _VERSION.fullmatch(version):
        raise input_error(
            "VERSION_INVALID",
            f"`{version}` is not a version X.Y.Z of three numbers",
            hints=("correct the image's version in the spec",),
        )
    return version


def _short(digest: str, length: int) -> str:
    plain = digest.removeprefix("sha256:").lower()
    if len(plain) < length or not _HEX.fullmatch(plain):
        raise ValueError(f"not a hexadecimal digest of at least {length} digits")
    return plain[:length]
