"""Which of a machine's apt sources are Debian's own, and what the base image is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.core.errors import DeployError
from deployer.core.events import Event, Warned
from deployer.toolchain.source import debian
from deployer.toolchain.source.debian import Source, apt_sources, host_sources, is_debians, with_security
from tests.unit.toolchain.support import finish, program

DEB822 = """Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb deb-src
URIs: https://mirror.example/security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBGPL0BUBEADmW5NdOOHwPIJlgPu6JDcKw/NZJPR8lsD3K87ZM18gzyQZJD+w

Enabled: no
Types: deb
URIs: https://off.example
Suites: bookworm
"""
CLASSIC = """deb [signed-by=/k.gpg arch=amd64] http://mirror.example/debian bookworm main # x
deb-src http://mirror.example/debian bookworm main
deb http://other.example jammy main
"""
DEBIANS_KEY = "/usr/share/keyrings/debian-archive-keyring.gpg"


def test_apt_sources_of_both_formats_are_read() -> None:
    found = list(apt_sources([("debian.sources", DEB822), ("sources.list", CLASSIC)]))
    assert [source.line for source in found] == [
        "deb http://mirror.example/debian bookworm main contrib",
        "deb http://mirror.example/debian bookworm-updates main contrib",
        "deb https://mirror.example/security bookworm-security main",
        "deb http://mirror.example/debian bookworm main",
        "deb http://other.example jammy main",
    ]
    assert [found[0].signed_by, found[3].signed_by, found[4].signed_by] == [DEBIANS_KEY, "/k.gpg", ""]
    assert found[2].signed_by.startswith("-----BEGIN PGP")


@pytest.mark.parametrize(
    ("uri", "suite", "components", "signed_by", "debians"),
    [
        ("http://mirror.example/debian", "bookworm", "main", "", True),
        ("http://mirror.example/debian-security/", "bookworm-security", "main", "", True),
        ("http://mirror.example/proxy/apt", "bookworm", "main", DEBIANS_KEY, True),
        ("http://mirror.example/proxy/apt", "bookworm", "main", "", False),
        ("http://database.example/debian", "bookworm", "main", "/etc/apt/keyrings/database.asc", False),
        ("http://database.example/debian", "bookworm-pgdg", "main", "", False),
        ("http://docker.example/linux/debian", "bookworm", "stable", "", False),
        ("http://mirror.example/debian", "bookworm-backports", "main", "", False),
        ("http://mirror.example/debian", "trixie", "main", "", False),
    ],
)
def test_only_debians_own_archive_is_taken_over(
    tmp_path: Path, uri: str, suite: str, components: str, signed_by: str, debians: bool
) -> None:
    assert is_debians(Source(uri, suite, (components,), signed_by), tmp_path) is debians


@pytest.mark.parametrize(("origin", "debians"), [("Debian", True), ("Database", False), ("Debian Backports", False)])
def test_an_archive_is_what_it_says_of_itself(tmp_path: Path, origin: str, debians: bool) -> None:
    (tmp_path / "host.example_repo_my%5fdebian_dists_bookworm_InRelease").write_text(
        f"Hash: SHA256\n\nOrigin: {origin}\n"
    )
    assert is_debians(Source("https://me@host.example/repo/my_debian/", "bookworm", ("main",)), tmp_path) is debians


def machine(folder: Path, text: str) -> list[Source]:
    (folder / "sources.list").write_text(text)
    (folder / "sources.list.d").mkdir()
    (folder / "sources.list.d/third.list").write_text("deb http://third.example/apt bookworm main\n")
    (folder / "sources.list.d/ignored.list.save").write_text("deb http://saved.example/debian bookworm main\n")
    return host_sources(folder, folder / "lists")


def test_the_main_suite_comes_first_and_third_parties_not_at_all(tmp_path: Path) -> None:
    security, main = "deb http://a/debian-security bookworm-security main", "deb http://a/debian bookworm main"
    found = machine(tmp_path, f"{security}\n{main}\n")
    assert [source.line for source in found] == [main, security]
    assert with_security(found) == found


def test_another_system_has_no_sources_to_take_over(tmp_path: Path) -> None:
    assert machine(tmp_path, "deb http://a/debian-security bookworm-security main\n") == []


def test_the_security_suite_is_beside_the_main_one(tmp_path: Path) -> None:
    found = with_security(machine(tmp_path, "deb http://a/debian/ bookworm main contrib\n"))
    assert found[1:] == [Source("http://a/debian-security", "bookworm-security", ("main", "contrib"))]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh tree, and an `unshare` that fails while the sources name a host without a security suite."""
    (tmp_path / "root/etc/apt").mkdir(parents=True)
    (tmp_path / "root/etc/apt/sources.list").write_text("deb http://bare.example/debian bookworm main\n")
    script = 'grep -q "http://bare.example/debian-security" "$4/etc/apt/sources.list" && exit 100; exit 0'
    program(tmp_path / "bin", "unshare", script)
    monkeypatch.setattr(debian, "host_sources", list)
    return tmp_path / "root"


def upgrade(root: Path) -> tuple[list[str], list[str]]:
    """The sources that the tree has afterwards, and what was warned of."""
    events: list[Event] = []
    finish(debian._upgrade(root, {"PATH": f"{root.parent}/bin:/usr/bin:/bin"}), events)
    lines = (root / "etc/apt/sources.list").read_text().splitlines()
    return lines, [event.problem.code for event in events if isinstance(event, Warned)]


def test_a_host_without_the_security_suite_is_a_warning(root: Path) -> None:
    assert upgrade(root) == (["deb http://bare.example/debian bookworm main"], ["TOOLCHAIN_SECURITY_SUITE"])


def test_the_image_has_the_security_suite_where_it_is_served(root: Path) -> None:
    (root / "etc/apt/sources.list").write_text("deb http://full.example/debian bookworm main\n")
    assert upgrade(root) == (
        [
            "deb http://full.example/debian bookworm main",
            "deb http://full.example/debian-security bookworm-security main",
        ],
        [],
    )


def test_packages_that_cannot_be_upgraded_fail_the_image(root: Path) -> None:
    program(root.parent / "bin", "unshare", "exit 100")
    with pytest.raises(debian.CommandFailed):
        upgrade(root)


def test_missing_packages_are_named_where_we_may_not_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "run", lambda *_: "bash installed\ncurl config-files\n")
    monkeypatch.setattr(debian, "can_install", lambda: False)
    assert debian.missing(["bash", "curl", "debootstrap"]) == ["curl", "debootstrap"]
    with pytest.raises(DeployError, match="curl, debootstrap"):
        finish(debian.ensure_packages(["bash", "curl", "debootstrap"], "needed", {}))
    assert finish(debian.ensure_packages(["bash"], "needed", {})) is False
