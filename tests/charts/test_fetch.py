"""Charts fetched by the real helm from a repository and a registry on this machine."""

from __future__ import annotations

import base64
import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import deployer.helm.pull as pull
from deployer.commands import charts
from deployer.composition import Machine
from deployer.config.load import LoadedSpec, load_spec
from deployer.core.errors import DeployError, Problem
from deployer.core.steps import SystemClock, drive
from deployer.sources import load
from deployer.sources.pins import lock_file, read_lock
from tests.fakes.chart_server import ChartServer, packed, packed_chart, serving, sha256

SPEC = "apiVersion: todo-deploy/v1\napplication: shop\nreleases:\n"
Changes = list[tuple[str, str, str]]


@pytest.fixture
def server() -> Iterator[ChartServer]:
    with serving(ChartServer()) as found:
        for version in ("1.0.0", "1.2.0", "2.0.0"):
            found.add("queue", version)
        yield found


@pytest.fixture
def here(tmp_path: Path, helm: str, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine of its own, with Helm's settings in its home."""
    for name in [one for one in os.environ if one.startswith("HELM_") or one.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HELM_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    tools = SimpleNamespace(helm=Path(helm))
    monkeypatch.setattr(charts.connection, "known_tools", lambda _: tools)
    return Machine({}, tmp_path / "cache", tmp_path / "state", SystemClock())


Write = Callable[..., LoadedSpec]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a spec of these releases, beside an umbrella chart of these dependencies, and reads it."""

    def written(releases: str, *dependencies: str) -> LoadedSpec:
        folder = tmp_path / "shop"
        (folder / "chart" / "templates").mkdir(parents=True, exist_ok=True)
        listed = "".join(f"  - {one}\n" for one in dependencies)
        text = "apiVersion: v2\nname: shop\nversion: 0.1.0\n" + (f"dependencies:\n{listed}" if listed else "")
        (folder / "chart" / "Chart.yaml").write_text(text)
        (folder / "todo-deploy.yaml").write_text(SPEC + releases)
        return load_spec(folder / "todo-deploy.yaml")

    return written


def ready(loaded: LoadedSpec, here: Machine) -> Mapping[str, Any]:
    """What the releases' charts are staged as, once all is fetched."""
    return load.read_sources(charts.ready(loaded, here), {}, {}, here.cache_dir).charts


def problem(loaded: LoadedSpec, here: Machine) -> Problem:
    with pytest.raises(DeployError) as caught:
        ready(loaded, here)
    staging = list((here.cache_dir / "charts").glob(".staging-*"))
    assert staging == [], "a fetch that failed leaves nothing"
    return caught.value.problems[0]


def updated(loaded: LoadedSpec, here: Machine, *names: str) -> Changes:
    changes = drive(charts.update([loaded], here, names), lambda event: None)
    return [(one.name, one.before, one.now) for one in changes]


def test_charts_and_dependencies_are_fetched_pinned_and_offline_from_then_on(
    server: ChartServer, here: Machine, write: Write, tmp_path: Path
) -> None:
    umbrella = (
        f"{{name: queue, version: ^1.0, repository: '{server.repository}', alias: jobs, condition: jobs.enabled}}",
        f"{{name: queue, version: '>=2', repository: '{server.registry}'}}",
    )
    loaded = write(
        f"  shop: {{chart: chart}}\n  bus: {{chart: '{server.registry}/queue', version: ~1.0}}\n"
        f"  own: {{chart: '{server.repository}/queue-1.2.0.tgz'}}\n",
        *umbrella,
    )
    listing = (tmp_path / "shop" / "chart" / "Chart.yaml").read_bytes()
    assert len(updated(loaded, here)) == 4
    pins = read_lock(lock_file(loaded.path)).values()
    assert sorted((one.requested, one.version, bool(one.manifest)) for one in pins) == [
        ("", "1.2.0", False), (">=2", "2.0.0", True), ("^1.0", "1.2.0", False), ("~1.0", "1.0.0", True),
    ]  # fmt: skip
    server.charts.clear()
    server.asked.clear()
    found = ready(loaded, here)
    assert sorted(path.name for path in (found["shop"].folder / "charts").iterdir()) == [
        "queue-1.2.0.tgz", "queue-2.0.0.tgz",
    ]  # fmt: skip
    assert "version: 1.0.0" in (found["bus"].folder / "Chart.yaml").read_text()
    assert "version: 1.2.0" in (found["own"].folder / "Chart.yaml").read_text()
    assert server.asked == []
    assert (tmp_path / "shop" / "chart" / "Chart.yaml").read_bytes() == listing
    assert [path.name for path in (tmp_path / "shop" / "chart").iterdir() if path.name != "templates"] == ["Chart.yaml"]


def test_a_range_stays_at_its_pin_until_it_is_renewed(server: ChartServer, here: Machine, write: Write) -> None:
    loaded = write(f"  bus: {{chart: '{server.repository}/queue', version: ^1}}\n")
    assert updated(loaded, here) == [("queue", "", "1.2.0")]
    first = ready(loaded, here)["bus"].digest
    server.add("queue", "1.3.0")
    assert ready(loaded, here)["bus"].digest == first
    assert updated(loaded, here, "queue") == [("queue", "1.2.0", "1.3.0")]
    assert updated(loaded, here) == []
    assert ready(loaded, here)["bus"].digest != first


def test_what_is_pinned_is_fetched_anew_for_an_empty_cache(server: ChartServer, here: Machine, write: Write) -> None:
    loaded = write(f"  bus: {{chart: '{server.registry}/queue', version: ^1}}\n")
    updated(loaded, here)
    server.add("queue", "1.3.0")
    empty = replace(here, cache_dir=here.cache_dir / "other")
    assert "version: 1.2.0" in (ready(loaded, empty)["bus"].folder / "Chart.yaml").read_text()
    server.add("queue", "1.2.0", more__text="another")
    found = problem(loaded, replace(here, cache_dir=here.cache_dir / "third"))
    assert (found.code, found.where) == ("CHART_DIGEST", "todo-deploy.yaml:4")
    assert charts.UPDATE in found.hints[-1]


def test_a_digest_of_the_spec_is_that_of_the_archive_or_of_the_manifest(
    server: ChartServer, here: Machine, write: Write
) -> None:
    line = f"  bus: {{chart: '{server.registry}/queue', version: 1.2.0, digest: 'DIGEST'}}\n"
    for digest in (sha256(server.charts["queue", "1.2.0"]), sha256(server.manifest("queue", "1.2.0"))):
        assert ready(write(line.replace("DIGEST", digest)), here)
    assert problem(write(line.replace("DIGEST", f"sha256:{'0' * 64}")), here).code == "CHART_DIGEST"


@pytest.mark.parametrize("place", ["registry", "repository"])
def test_a_version_that_is_not_there_comes_with_those_that_are(
    server: ChartServer, here: Machine, write: Write, place: str
) -> None:
    address = getattr(server, place)
    for version in ("9.9.9", "^3"):
        found = problem(
            write("  shop: {chart: chart}\n", f"{{name: queue, version: {version}, repository: '{address}'}}"), here
        )
        assert found.code == "CHART_NOT_FOUND" and found.where.endswith("chart/Chart.yaml:5")
        assert "2.0.0, 1.2.0, 1.0.0" in found.detail
    found = problem(write(f"  bus: {{chart: '{address}/nothing'}}\n"), here)
    assert (found.code, found.detail) == ("CHART_NOT_FOUND", "")


def test_a_closed_registry_is_read_with_dockers_login_alone(
    server: ChartServer, here: Machine, write: Write, tmp_path: Path
) -> None:
    server.login = "ann:pass-of-ann"
    loaded = write(f"  bus: {{chart: '{server.registry}/queue', version: 1.2.0}}\n")
    found = problem(loaded, here)
    assert found.code == "CHART_DENIED" and f"helm registry login 127.0.0.1:{server.port}" in found.hints[0]
    (tmp_path / "docker").mkdir()
    login = base64.b64encode(server.login.encode()).decode()
    (tmp_path / "docker" / "config.json").write_text(
        json.dumps({"auths": {f"127.0.0.1:{server.port}": {"auth": login}}})
    )
    assert ready(loaded, here)


def test_a_closed_repository_is_read_with_helms_own_entry_by_address_or_name(
    server: ChartServer, here: Machine, write: Write, tmp_path: Path
) -> None:
    server.login = "ann:pass-of-ann"
    by_name = "{name: queue, version: ^1, repository: '@ours'}"
    assert problem(write(f"  bus: {{chart: '{server.repository}/queue'}}\n"), here).code == "CHART_DENIED"
    assert problem(write("  shop: {chart: chart}\n", by_name), here).hints[0].startswith("helm repo add ours")
    entry = {"name": "ours", "url": f"{server.repository}/", "username": "ann", "password": "pass-of-ann"}
    entry |= {"caFile": "", "insecure_skip_tls_verify": False, "pass_credentials_all": True}
    (tmp_path / "config").mkdir(exist_ok=True)
    (tmp_path / "config" / "repositories.yaml").write_text(json.dumps({"repositories": [entry]}))
    loaded = write(f"  bus: {{chart: '{server.repository}/queue'}}\n  shop: {{chart: chart}}\n", by_name)
    assert len(updated(loaded, here)) == 2
    assert "pass-of-ann" not in lock_file(loaded.path).read_text()


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/index.yaml", 404, "CHART_NOT_FOUND there is no chart"),
        ("/index.yaml", 302, "CHART_FETCH it redirects in a circle"),
        ("/index.yaml", 500, "CHART_FETCH an error of its own"),
        ("/queue-1.2.0.tgz", 403, "CHART_DENIED may not be read"),
    ],
)
def test_what_a_server_answers_is_named(
    server: ChartServer, here: Machine, write: Write, path: str, status: int, words: str
) -> None:
    server.faults[path] = status
    code, _, cause = words.partition(" ")
    found = problem(write(f"  bus: {{chart: '{server.repository}/queue', version: ^1}}\n"), here)
    assert (found.code, found.where) == (code, "todo-deploy.yaml:4")
    assert cause in found.title and server.repository in found.title


@pytest.mark.parametrize(
    "address", ["oci://127.0.0.1:1/charts", "https://127.0.0.1:1", "https://nowhere.invalid/charts"]
)
def test_who_is_not_reached_is_named_with_the_line(here: Machine, write: Write, address: str) -> None:
    found = problem(
        write("  shop: {chart: chart}\n", f"{{name: queue, version: 1.0.0, repository: '{address}'}}"), here
    )
    assert found.code == "CHART_FETCH" and found.where.endswith("chart/Chart.yaml:5")
    assert address in found.title and ("DNS" in found.title or "refused" in found.title)


def test_a_server_that_never_answers_is_given_up(
    server: ChartServer, here: Machine, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "LONGEST", 1.5)
    monkeypatch.setattr(pull, "EVERY", 0.5)
    server.faults["/index.yaml"] = 0
    said: list[str] = []
    loaded = write(f"  bus: {{chart: '{server.repository}/queue'}}\n")
    with pytest.raises(DeployError) as caught:
        charts.ready(loaded, here, lambda event: said.append(str(event)))
    assert caught.value.problems[0].code == "CHART_FETCH" and any("asking" in one for one in said)


def test_an_archive_that_the_index_does_not_mean_is_refused(server: ChartServer, here: Machine, write: Write) -> None:
    server.index["queue", "1.2.0"] = f"sha256:{'a' * 64}"
    loaded = write(f"  bus: {{chart: '{server.repository}/queue', version: 1.2.0}}\n")
    assert problem(loaded, here).code == "CHART_DIGEST"
    server.index["queue", "1.2.0"] = ""
    assert ready(loaded, here)


HOSTILE: dict[str, bytes] = {
    "outside": packed({"queue/Chart.yaml": "apiVersion: v2\nname: queue\nversion: 1.2.0\n", "queue/../../x": "y"}),
    "absolute": packed({"queue/Chart.yaml": "apiVersion: v2\nname: queue\nversion: 1.2.0\n", "/etc/x": "y"}),
    "large": packed_chart("queue", "1.2.0", big="x" * (5 * 2**20 + 1)),
    "no archive": b"<html>sign in</html>",
    "no chart": packed({"queue/README.md": "x"}),
    "cut": gzip.compress(b"x" * 1000)[:-10],
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_chart_is_not_kept(server: ChartServer, here: Machine, write: Write, content: bytes) -> None:
    server.add("queue", "1.2.0", content)
    assert (
        problem(write(f"  bus: {{chart: '{server.registry}/queue', version: 1.2.0}}\n"), here).code == "CHART_ARCHIVE"
    )
    assert not list((here.cache_dir / "charts").glob("archives/*"))


def test_a_chart_of_another_name_is_refused(server: ChartServer, here: Machine, write: Write) -> None:
    server.add("queue", "1.2.0", packed_chart("other", "1.2.0"))
    found = problem(write(f"  bus: {{chart: '{server.registry}/queue', version: 1.2.0}}\n"), here)
    assert found.code == "CHART_NAME" and "`other`" in found.title


def test_several_runs_may_fetch_at_once(server: ChartServer, here: Machine, write: Write) -> None:
    loaded = write(f"  bus: {{chart: '{server.registry}/queue', version: ^1}}\n")
    found: list[Any] = []
    runs = [threading.Thread(target=lambda: found.append(ready(loaded, here)["bus"].digest)) for _ in range(3)]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    assert len(found) == 3 and len(set(found)) == 1
    assert len(list((here.cache_dir / "charts" / "archives").iterdir())) == 1


def test_an_archive_of_the_cache_that_was_changed_is_fetched_anew(
    server: ChartServer, here: Machine, write: Write
) -> None:
    loaded = write(f"  bus: {{chart: '{server.registry}/queue', version: ^1}}\n")
    updated(loaded, here)
    (archive,) = (here.cache_dir / "charts" / "archives").iterdir()
    archive.write_bytes(b"half")
    assert ready(loaded, here)
    assert sha256(archive.read_bytes()).endswith(archive.stem)


def test_a_lock_file_whose_version_was_changed_by_hand_is_not_believed(
    server: ChartServer, here: Machine, write: Write
) -> None:
    loaded = write(f"  bus: {{chart: '{server.registry}/queue', version: ^1}}\n")
    updated(loaded, here)
    path = lock_file(loaded.path)
    written = path.read_text()
    for version, code in (("1.9.9", "CHART_NOT_FOUND"), ("1.0.0", "CHART_DIGEST")):
        path.write_text(written.replace("version: 1.2.0", f"version: {version}"))
        assert problem(loaded, here).code == code
