"""Image references are taken apart as Docker does it."""

from __future__ import annotations

import pytest

from deployer.core.image_ref import ImageRef, is_reference, parse_ref

SHA = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "parts", "registry", "familiar"),
    [
        ("nginx", ImageRef("nginx"), "", "nginx:latest"),
        ("nginx:1.27", ImageRef("nginx", "1.27"), "", "nginx:1.27"),
        ("library/nginx", ImageRef("library/nginx"), "", "nginx:latest"),
        ("docker.io/library/nginx:1", ImageRef("docker.io/library/nginx", "1"), "docker.io", "nginx:1"),
        ("index.docker.io/acme/web:1", ImageRef("index.docker.io/acme/web", "1"), "index.docker.io", "acme/web:1"),
        ("localhost/web", ImageRef("localhost/web"), "localhost", "localhost/web:latest"),
        ("host:5000/web", ImageRef("host:5000/web"), "host:5000", "host:5000/web:latest"),
        ("host:5000/a/web:2", ImageRef("host:5000/a/web", "2"), "host:5000", "host:5000/a/web:2"),
        ("ghcr.io/library/web:2", ImageRef("ghcr.io/library/web", "2"), "ghcr.io", "ghcr.io/library/web:2"),
        (f"web@{SHA}", ImageRef("web", "", SHA), "", f"web@{SHA}"),
        (f"acme/web:1@{SHA}", ImageRef("acme/web", "1", SHA), "", "acme/web:1"),
        ("sha256:ab", ImageRef("sha256", "ab"), "", "sha256:ab"),
        ("", ImageRef(""), "", ":latest"),
    ],
)
def test_a_reference_and_its_parts(text: str, parts: ImageRef, registry: str, familiar: str) -> None:
    found = parse_ref(text)
    assert (found, found.registry, found.familiar) == (parts, registry, familiar)


def test_the_last_part_names_the_image() -> None:
    assert [parse_ref(text).last for text in ("web", "host:5000/a/web:2", f"a/web@{SHA}")] == ["web"] * 3


@pytest.mark.parametrize(
    "text",
    [
        "web", "web:1", "a/b/c:1.0", "Side/app:1", "localhost/app", "localhost:5000/a:1", "[::1]:5000/a:1",
        "a__b/c--d:_x",
        "reg.example.com:5000/a/b@sha256:" + 64 * "0", "web:1@sha256:" + 64 * "0", "REG.example.com/a", "web:v1-2_3.4",
        "web@sha512:" + 128 * "a",
    ],
)  # fmt: skip
def test_a_reference(text: str) -> None:
    assert is_reference(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "web:", "web:@sha256:" + 64 * "0", "web:1:1", "Side/App:1", "App", "web :1", " web", "web@",
        "web@sha256:12",
        "https://reg/x:1", "/web", "web/", "a//b", "reg.example.com/", "web:-1", "a..b", "web:" + 129 * "a",
        "<no value>", "web:1/", "-a", ":1", "web:1+b",
    ],
)  # fmt: skip
def test_no_reference(text: str) -> None:
    assert not is_reference(text)
