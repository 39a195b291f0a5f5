"""Reports in the shape that trivy (SchemaVersion 2) and grype print, and what an `up` makes of them."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployer.core.errors import ExitCode
from deployer.core.events import Warned
from deployer.core.ports import DockerEndpoint
from deployer.images.scanner import Scan, Scanner, find_scanner, read_report
from deployer.stages.images import BuiltImage, scan_images
from tests import DATA
from tests.fakes.clock import FakeClock
from tests.fakes.images import FakeImages
from tests.fakes.play import code, failed, items, played


def trivy(*found: tuple[str, str, str]) -> str:
    """A report of `trivy image --format json`: one result of the system, one of the language's packages."""
    vulnerabilities = [
        {"VulnerabilityID": id, "PkgName": package, "InstalledVersion": "1.1", "FixedVersion": "1.2",
         "Layer": {"DiffID": "sha256:0"}, "SeveritySource": "nvd", "Severity": severity, "CweIDs": ["CWE-787"]}
        for id, package, severity in found
    ]  # fmt: skip
    return json.dumps(
        {
            "SchemaVersion": 2,
            "ArtifactName": "todo-chatbot-backend:1.0.0",
            "ArtifactType": "container_image",
            "Metadata": {"OS": {"Family": "debian", "Name": "12.8"}, "ImageID": "sha256:1"},
            "Results": [
                {"Target": "debian 12.8", "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": vulnerabilities},
                {"Target": "Python", "Class": "lang-pkgs", "Type": "python-pkg"},
            ],
        }
    )


def grype(*found: tuple[str, str, str]) -> str:
    """A document of `grype -o json`."""
    matches: list[Any] = [
        {"vulnerability": {"id": id, "dataSource": "", "severity": severity, "fix": {"versions": [], "state": ""}},
         "relatedVulnerabilities": [], "matchDetails": [],
         "artifact": {"id": "a2", "name": package, "version": "1.1.1", "type": "deb"}}
        for id, package, severity in found
    ]  # fmt: skip
    return json.dumps({"matches": matches, "source": {"type": "image"}, "descriptor": {"name": "grype"}})


@pytest.mark.parametrize(
    ("scanner", "text"),
    [
        ("trivy", trivy(("CVE-2019-14697", "musl", "CRITICAL"), ("CVE-2019-14697", "musl-utils", "CRITICAL"),
                        ("CVE-2019-14697", "musl", "CRITICAL"), ("CVE-2020-1", "zlib", "HIGH"))),
        ("grype", grype(("CVE-2019-14697", "musl", "Critical"), ("CVE-2019-14697", "musl-utils", "Critical"),
                        ("CVE-2019-14697", "musl", "Critical"), ("CVE-2020-1", "zlib", "High"))),
    ],
)  # fmt: skip
def test_both_formats_lead_to_the_same_verdict(scanner: str, text: str) -> None:
    scan = read_report(scanner, text)
    assert scan.verdict == "critical"
    assert scan.critical == ("CVE-2019-14697 in musl", "CVE-2019-14697 in musl-utils")
    assert scan.counts == {"critical": 2, "high": 1}
    assert scan.words == (
        f"scanned by {scanner}: 2 critical, 1 high, 0 medium, 0 low (CVE-2019-14697 in musl, "
        "CVE-2019-14697 in musl-utils)"
    )


@pytest.mark.parametrize(("scanner", "text"), [("trivy", trivy()), ("grype", grype(("CVE-1", "zlib", "Unknown")))])
def test_nothing_critical_is_said_so(scanner: str, text: str) -> None:
    assert read_report(scanner, text).verdict == "no critical"


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"SchemaVersion": 1}', '{"matches": [{}]}'])
@pytest.mark.parametrize("scanner", ["trivy", "grype"])
def test_what_is_no_report_is_not_a_passed_scan(scanner: str, text: str) -> None:
    assert read_report(scanner, text).verdict == "not scanned"


# -- what real programs printed --------------------------------------------------------------------------------------

RECORDED = DATA / "scanners"


def test_a_real_report_of_grype_is_read() -> None:
    scan = read_report("grype", (RECORDED / "grype-0.110.0-findings.json").read_text())
    assert scan.words == (
        "scanned by grype: 1 critical, 0 high, 1 medium, 1 low, 2 negligible (CVE-2099-0003 in next)"
    )  # fmt: skip
    assert scan.verdict == "critical"


def test_a_real_report_of_grype_without_findings_is_a_scan() -> None:
    scan = read_report("grype", (RECORDED / "grype-0.110.0-none.json").read_text())
    assert scan.words == "scanned by grype: 0 critical, 0 high, 0 medium, 0 low"


# -- the stage -----------------------------------------------------------------------------------------------------

IMAGES = (BuiltImage("api", "api:1.0.0", True, "", 0), BuiltImage("web", "web:1.0.0", False, "", 0))
CLEAN = read_report("trivy", trivy(("CVE-2020-1", "zlib", "HIGH")))
BAD = read_report("trivy", trivy(("CVE-2019-14697", "musl", "CRITICAL")))


class FakeScanner:
    """Finds what it is given, and remembers what it was asked."""

    name = "trivy"
    renewal = ("trivy", "image", "--download-db-only")

    def __init__(self, found: Callable[[str], Scan], why: str = "") -> None:
        self._found, self._why = found, why
        self.asked: list[str] = []

    def unready(self, seconds: float) -> str:
        self.asked.append(f"ready in {seconds:.0f} s?")
        return self._why

    def scan(self, ref: str) -> Scan:
        self.asked.append(ref)
        return self._found(ref)


@pytest.fixture
def daemon() -> FakeImages:
    return FakeImages([image.ref for image in IMAGES])


def test_an_absent_scanner_is_said_and_never_passes(daemon: FakeImages, tmp_path: Path) -> None:
    events, images = played(scan_images(IMAGES, daemon, None, "block", tmp_path / "scans.json", FakeClock()))
    assert [one.scan for one in images] == ["not scanned", "not scanned"]
    assert [text for _, _, text in items(events)] == [
        "not scanned: neither trivy nor grype is on PATH", "not scanned, for the same reason",
    ]  # fmt: skip
    (warned,) = [one.problem for one in events if isinstance(one, Warned)]
    assert warned.code == "NOT_SCANNED"


def test_a_critical_vulnerability_blocks_where_the_spec_says_so(daemon: FakeImages, tmp_path: Path) -> None:
    scanner = FakeScanner(lambda ref: BAD if ref == "api:1.0.0" else CLEAN)
    _, error = failed(scan_images(IMAGES, daemon, scanner, "block", tmp_path / "a", FakeClock()))
    assert (code(error), error.exit_code) == ("IMAGE_VULNERABLE", ExitCode.BUILD)
    assert "api:1.0.0" in error.problems[0].title
    assert error.problems[0].detail == "CVE-2019-14697 in musl"
    _, images = played(scan_images(IMAGES, daemon, scanner, "report", tmp_path / "b", FakeClock()))
    assert [one.scan for one in images] == ["critical", "no critical"]


def test_an_unchanged_image_is_scanned_once_a_day(daemon: FakeImages, tmp_path: Path) -> None:
    scanner, clock = FakeScanner(lambda _: CLEAN), FakeClock()
    for _ in range(2):
        events, images = played(scan_images(IMAGES, daemon, scanner, "block", tmp_path / "scans.json", clock))
    assert scanner.asked == ["ready in 120 s?", "api:1.0.0", "web:1.0.0"]
    assert events == []
    assert [one.scan for one in images] == ["no critical", "no critical"]
    clock.sleep(100_000)
    played(scan_images(IMAGES, daemon, scanner, "block", tmp_path / "scans.json", clock))
    assert scanner.asked == ["ready in 120 s?", "api:1.0.0", "web:1.0.0"] * 2


def test_a_scanner_without_a_database_is_waited_for_once_and_never_passes(daemon: FakeImages, tmp_path: Path) -> None:
    scanner = FakeScanner(lambda _: CLEAN, "trivy has no current database of vulnerabilities: no network")
    events, images = played(scan_images(IMAGES, daemon, scanner, "block", tmp_path / "scans.json", FakeClock()))
    assert scanner.asked == ["ready in 120 s?"]
    assert [one.scan for one in images] == ["not scanned", "not scanned"]
    old = [BuiltImage("api", "api:1.0.0", False, "", 0)]
    played(scan_images(old, daemon, scanner, "block", tmp_path / "scans.json", FakeClock()))
    assert scanner.asked == ["ready in 120 s?", "ready in 10 s?"], "a run that built nothing waits for less time"
    (warned,) = [one.problem for one in events if isinstance(one, Warned)]
    assert warned.detail == "trivy has no current database of vulnerabilities: no network"
    assert warned.hints == (
        "`trivy image --download-db-only` downloads its database; `rules.scan: off` asks for no scan",
    )


def test_a_remembered_critical_vulnerability_blocks_until_the_scanner_says_otherwise(
    daemon: FakeImages, tmp_path: Path
) -> None:
    """A severity that was corrected, or one that the user has decided to ignore, does not block for a day."""
    memory, clock = tmp_path / "scans.json", FakeClock()

    def blocked(scanner: FakeScanner | None) -> bool:
        _, error = failed(scan_images(IMAGES, daemon, scanner, "block", memory, clock))
        return code(error) == "IMAGE_VULNERABLE"

    assert blocked(FakeScanner(lambda _: BAD))
    assert blocked(None)
    assert blocked(FakeScanner(lambda _: CLEAN, "no network"))
    assert blocked(FakeScanner(lambda _: Scan(why="trivy failed")))
    again = FakeScanner(lambda _: CLEAN)
    for _ in range(2):
        _, images = played(scan_images(IMAGES, daemon, again, "block", memory, clock))
        assert [one.scan for one in images] == ["no critical", "no critical"]
    assert again.asked == ["ready in 120 s?", "api:1.0.0", "web:1.0.0"]


# -- the program ---------------------------------------------------------------------------------------------------

HERE = DockerEndpoint("tcp://192.0.2.1:2376", Path("/certs"))


def program(folder: Path, name: str, body: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def test_the_scanner_on_path_is_asked_for_the_clusters_own_daemon(tmp_path: Path) -> None:
    (tmp_path / "report").write_text(trivy(("CVE-2020-1", "zlib", "HIGH")))
    program(tmp_path, "grype", "exit 9")
    program(tmp_path, "trivy", f'echo "$DOCKER_HOST $DOCKER_CERT_PATH $DOCKER_TLS_VERIFY $*" > {tmp_path}/asked\n'
                               f"cat {tmp_path}/report")  # fmt: skip
    scanner = find_scanner({"PATH": f"{tmp_path}:/usr/bin:/bin"}, HERE)
    assert scanner is not None
    assert scanner.scan("api:1.0.0").verdict == "no critical"
    asked = (tmp_path / "asked").read_text().split()
    assert asked[:3] == ["tcp://192.0.2.1:2376", "/certs", "1"]
    assert asked[3] == "image" and asked[-1] == "api:1.0.0"


def test_grype_is_asked_where_there_is_no_trivy(tmp_path: Path) -> None:
    (tmp_path / "report").write_text(grype(("CVE-2019-14697", "musl", "Critical")))
    program(tmp_path, "grype", f'echo "$*" > {tmp_path}/asked\ncat {tmp_path}/report')
    scanner = find_scanner({"PATH": f"{tmp_path}:/usr/bin:/bin"}, DockerEndpoint("unix:///docker.sock"))
    assert scanner is not None
    assert scanner.scan("api:1.0.0").verdict == "critical"
    assert (tmp_path / "asked").read_text().split()[-1] == "docker:api:1.0.0"


def test_a_scanner_that_fails_has_not_scanned(tmp_path: Path) -> None:
    program(tmp_path, "trivy", "echo 'FATAL no such image' >&2; echo >&2; exit 1")
    scanner = find_scanner({"PATH": f"{tmp_path}:/usr/bin:/bin"}, HERE)
    assert scanner is not None
    assert scanner.scan("api:1.0.0").words == "not scanned: trivy failed: FATAL no such image"
    assert find_scanner({"PATH": "/nowhere"}, HERE) is None


def real_grype(folder: Path, report: str, database: str) -> Scanner:
    """The program as it was recorded: nothing to download; `database` is what `db status` ends with."""
    program(folder, "grype", f"""echo "$*" >> {folder}/asked
case "$*" in
  *--quiet*) exit 1;;
  "db update") cat {RECORDED}/grype-0.110.0-no-database.stderr >&2; exit 1;;
  "db status") exit {database};;
  *"--fail-on  "*) cat {RECORDED}/grype-0.110.0-{report}.json;;
  *) cat {RECORDED}/grype-0.110.0-{report}.json; exit 2;;
esac""")  # fmt: skip
    scanner = find_scanner({"PATH": f"{folder}:/usr/bin:/bin"}, HERE)
    assert scanner is not None
    return scanner


def test_grype_without_a_database_says_why_and_is_not_asked_for_images(daemon: FakeImages, tmp_path: Path) -> None:
    grype = real_grype(tmp_path, "findings", "1")
    events, _ = played(scan_images(IMAGES, daemon, grype, "block", tmp_path / "scans.json", FakeClock()))
    words = next(text for _, _, text in items(events) if text.startswith("not scanned"))
    assert words.startswith("not scanned: grype has no current database of vulnerabilities: unable to update")
    assert words.endswith("lookup grype.anchore.io on 192.0.2.53:53: no such host")
    assert (tmp_path / "asked").read_text().splitlines() == ["db update", "db status"]
    assert [one.problem.code for one in events if isinstance(one, Warned)] == ["NOT_SCANNED"]


def test_grype_scans_with_a_database_that_it_still_finds_new_enough(daemon: FakeImages, tmp_path: Path) -> None:
    grype = real_grype(tmp_path, "findings", "0")
    assert grype.unready(30) == ""
    _, error = failed(scan_images(IMAGES, daemon, grype, "block", tmp_path / "scans.json", FakeClock()))
    assert code(error) == "IMAGE_VULNERABLE"
    assert error.problems[0].detail == "CVE-2099-0003 in next"


def test_a_scanner_that_hangs_holds_nobody_for_long(tmp_path: Path) -> None:
    program(tmp_path, "trivy", "exec sleep 30")
    scanner = find_scanner({"PATH": f"{tmp_path}:/usr/bin:/bin"}, HERE)
    assert scanner is not None
    assert "no end after 0 s of `trivy image --download-db-only --no-progress`" in scanner.unready(0.2)


def test_a_database_that_is_renewed_by_hand_is_not_downloaded(tmp_path: Path) -> None:
    program(tmp_path, "trivy", "exit 1")
    program(tmp_path, "grype", "test \"$*\" = 'db status'")
    path = f"{tmp_path}:/usr/bin:/bin"
    trivy = Scanner("trivy", f"{tmp_path}/trivy", HERE, {"PATH": path, "TRIVY_SKIP_DB_UPDATE": "true"})
    grype = Scanner("grype", f"{tmp_path}/grype", HERE, {"PATH": path, "GRYPE_DB_AUTO_UPDATE": "false"})
    assert (trivy.unready(30), grype.unready(30)) == ("", "")


@pytest.mark.parametrize("scanner", ["trivy", "grype"])
@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "NaN", '{"SchemaVersion": 1, "matches": {}}', '{"SchemaVersion": 2, "Results": 3, "matches": [1]}',
     '{"SchemaVersion": 2, "Results": [{"Vulnerabilities": [{"VulnerabilityID": 1}]}], "matches": [null]}'],
    ids=range(7),
)  # fmt: skip
def test_what_is_no_report_is_not_scanned(scanner: str, text: str) -> None:
    assert read_report(scanner, text).verdict == "not scanned"
