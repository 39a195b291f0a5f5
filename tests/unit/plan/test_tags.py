"""Tags never name two contents and are never `latest`."""

import pytest

from deployer.core.errors import DeployError
from deployer.plan.tags import Commit, Tag, digest_tag, semver_commit_tag, semver_tag, validated_tag

A = "a" * 64
B = "b" * 64
C = "c" * 64


def test_digest_tag() -> None:
    assert digest_tag("1.2.3", A).text == "1.2.3-aaaaaaaaaaaa"
    assert digest_tag("1.2.3", f"sha256:{A}") == digest_tag("1.2.3", A)


@pytest.mark.parametrize(
    ("used", "digest", "expected"),
    [
        ({}, A, "1.0.0"),
        ({"1.0.0": A}, A, "1.0.0"),
        ({"1.0.0": A}, B, "1.0.1"),
        ({"1.0.0": A, "1.0.1": B}, B, "1.0.1"),
        ({"1.0.0": A, "1.0.1": B}, A, "1.0.0"),
        ({"1.0.0": A, "1.0.1": B}, C, "1.0.2"),
        ({"1.0.0": A, "1.0.9": B, "1.0.10": B}, C, "1.0.11"),  # numbers, not texts
        ({"1.0.0": A, "1.0.7": B}, B, "1.0.7"),
        ({"1.0.0": A, "2.0.5": B, "1.0.3-rc1": B, "old": B}, B, "1.0.1"),
        ({"0.9.0": B}, B, "1.0.0"),
    ],
)
def test_semver_tag(used: dict[str, str], digest: str, expected: str) -> None:
    assert semver_tag("1.0.0", digest, used).text == expected


def test_semver_counts_from_the_version_of_the_spec() -> None:
    assert semver_tag("1.0.5", B, {"1.0.0": B, "1.0.5": A}).text == "1.0.6"


def test_semver_commit_tag() -> None:
    clean = Commit("0123456789abcdef", clean=True)
    assert semver_commit_tag("1.0.0", A, clean, {}) == Tag("1.0.0-0123456")
    assert semver_commit_tag("1.0.0", A, clean, {"1.0.0-0123456": A}) == Tag("1.0.0-0123456")
    for tag in (
        semver_commit_tag("1.0.0", A, None, {}),
        semver_commit_tag("1.0.0", A, Commit("0123456789abcdef", clean=False), {}),
        semver_commit_tag("1.0.0", A, clean, {"1.0.0-0123456": B}),
    ):
        assert tag.text == "1.0.0-aaaaaaaaaaaa" and tag.reason


@pytest.mark.parametrize(
    "tag", ["latest", "LATEST", "", "-a", ".a", "a b", "a/b", "a:b", "é", "a" * 129, "1.0+x", "a\n"]
)
def test_tags_that_are_refused(tag: str) -> None:
    with pytest.raises(DeployError):
        validated_tag(tag)


@pytest.mark.parametrize("tag", ["1.0.0", "_x", "latest-1", "a" * 128, "1.0.0-ABC.def_"])
def test_tags_that_are_accepted(tag: str) -> None:
    assert validated_tag(tag) == tag


@pytest.mark.parametrize("version", ["1.0", "v1.0.0", "1.0.0-rc1", "01.0.0", "latest", ""])
def test_versions_that_are_refused(version: str) -> None:
    with pytest.raises(DeployError):
        digest_tag(version, A)


def test_a_digest_that_is_none_is_a_bug() -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        digest_tag("1.0.0", "short")
