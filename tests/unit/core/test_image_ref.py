"""Image references are taken apart as Docker does it."""

from __future__ import annotations

import pytest

from deployer.core.image_ref import ImageRef, parse_ref

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
