"""Vulnerability reports of images: what trivy and grype print as JSON, read into one verdict.

Formats: trivy's report with SchemaVersion 2 (`trivy image --format json`), grype's document (`grype -o json`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from deployer.core.reading import parse_json

SCANNERS = ("trivy", "grype")
_SEVERITIES = ("critical", "high", "medium", "low")
_SHOWN = 3


@dataclass(frozen=True, slots=True, order=True)
class Vulnerability:
    """One known weakness of one package."""

    id: str
    package: str
    severity: str


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scanner found in an image; without a scanner, `why` it was not scanned."""

    scanner: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    critical: tuple[str, ...] = ()
    why: str = ""

    @property
    def verdict(self) -> str:
        """`not scanned`, `critical` or `no critical`."""
        if not self.scanner:
            return "not scanned"
        return "critical" if self.critical else "no critical"

    @property
    def words(self) -> str:
        """The verdict in one line."""
        if not self.scanner:
            return f"not scanned: {self.why}"
        others = sorted(severity for severity in self.counts if severity not in _SEVERITIES)
        counts = ", ".join(f"{self.counts.get(severity, 0)} {severity}" for severity in (*_SEVERITIES, *others))
        shown = ", ".join(self.critical[:_SHOWN])
        more = f" and {len(self.critical) - _SHOWN} more" if len(self.critical) > _SHOWN else ""
        return f"scanned by {self.scanner}: {counts}" + (f" ({shown}{more})" if shown else "")


def read_report(scanner: str, text: str) -> Scan:
    """The scan that the scanner's JSON report tells of; not scanned where it is no report."""
    try:
        document = parse_json(text)
        found = set(_trivy(document) if scanner == "trivy" else _grype(document))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Scan(why=f"{scanner} printed no report that could be read ({type(error).__name__})")
    counts = Counter(one.severity for one in found)
    critical = tuple(f"{one.id} in {one.package}" for one in sorted(found) if one.severity == "critical")
    return Scan(scanner, dict(counts), critical)


def _trivy(document: Any) -> Iterator[Vulnerability]:
    if document["SchemaVersion"] != 2:
        raise ValueError("another schema")
    for result in document.get("Results") or ():
        for one in result.get("Vulnerabilities") or ():
            yield Vulnerability(one["VulnerabilityID"], one["PkgName"], one.get("Severity", "unknown").lower())


def _grype(document: Any) -> Iterator[Vulnerability]:
    for match in document["matches"]:
        one = match["vulnerability"]
        yield Vulnerability(one["id"], match["artifact"]["name"], one["severity"].lower())
