"""Charts are staged with all their local parts, once per content, whole or not at all."""

import json
import os
import stat
import tarfile
import tempfile
import textwrap
from pathlib import Path

import pytest

import deployer.sources.charts as charts
from deployer.core.errors import DeployError, Problem
from deployer.sources.charts import StagedChart, read_chart
from deployer.sources.digest import Digest, changed_files
from deployer.sources.pins import Pin, digest_of


def chart(folder: Path, name: str, *dependencies: str, version: str = "0.1.0", more: str = "") -> Path:
    (folder / "templates").mkdir(parents=True, exist_ok=True)
    (folder / "templates" / "x.yaml").write_text(f"# {name}\n")
    (folder / "values.yaml").write_text("a: 1\n")
    listed = "".join(f"  - {item}\n" for item in dependencies)
    text = f"apiVersion: v2\nname: {name}\nversion: {version}\nappVersion: 1.10\n{more}"
    (folder / "Chart.yaml").write_text(text + (f"dependencies:\n{listed}" if listed else ""))
    return folder


def local(name: str, path: str, more: str = "") -> str:
    return f"{{name: {name}, version: 0.1.0, repository: 'file://{path}'{more}}}"


@pytest.fixture
def umbrella(tmp_path: Path) -> Path:
    chart(tmp_path / "component", "component")
    chart(tmp_path / "web", "web", local("component", "../component"))
    return chart(tmp_path / "all", "all", local("web", "../web"), local("component", "../component", ", alias: api"))


def stage_chart(chart_dir: Path, into: Path) -> StagedChart:
    """The chart as staged from a repository that holds the folders beside it."""
    return charts.stage_chart(chart_dir, into, within=(chart_dir.parent.resolve(),))


def names(staged: StagedChart) -> list[str]:
    return sorted(path.relative_to(staged.path).as_posix() for path in staged.path.rglob("*") if path.is_file())


def chart_digest(chart_dir: Path) -> Digest:
    with tempfile.TemporaryDirectory() as folder:
        return stage_chart(chart_dir, Path(folder)).digest


def problem(chart_dir: Path) -> Problem:
    with pytest.raises(DeployError) as caught:
        chart_digest(chart_dir)
    return caught.value.problems[0]


def test_reading_a_chart(umbrella: Path) -> None:
    info = read_chart(umbrella)
    assert (info.name, info.version, info.app_version, info.type) == ("all", "0.1.0", "1.10", "application")
    assert [(item.name, item.alias, item.local, item.where) for item in info.dependencies] == [
        ("web", "", True, f"{umbrella}/Chart.yaml:6"),
        ("component", "api", True, f"{umbrella}/Chart.yaml:7"),
    ]


def test_a_chart_is_staged_with_its_parts(umbrella: Path, tmp_path: Path) -> None:
    staged = stage_chart(umbrella, tmp_path / "staged")
    own = ["Chart.yaml", "templates/x.yaml", "values.yaml"]
    assert names(staged) == sorted(
        [
            *own,
            *(f"charts/web/{name}" for name in own),
            *(f"charts/component/{name}" for name in own),
            *(f"charts/web/charts/component/{name}" for name in own),
        ]
    )
    assert staged.path.name == f"all-{staged.digest.value[:16]}"
    assert staged.remote == ()
    assert (staged.path / "Chart.yaml").read_bytes() == (umbrella / "Chart.yaml").read_bytes()
    assert not (umbrella / "charts").exists()


def test_the_same_content_is_staged_once(umbrella: Path, tmp_path: Path) -> None:
    first = stage_chart(umbrella, tmp_path / "staged")
    mark = first.path / "templates" / "x.yaml"
    inode = mark.stat().st_ino
    os.utime(umbrella / "values.yaml", (1, 1))
    assert stage_chart(umbrella, tmp_path / "staged") == first
    assert mark.stat().st_ino == inode
    assert len(list((tmp_path / "staged").iterdir())) == 1


def test_a_change_in_a_dependency_is_seen_and_named(umbrella: Path, tmp_path: Path) -> None:
    before = chart_digest(umbrella)
    (tmp_path / "component" / "values.yaml").write_text("a: 2\n")
    after = chart_digest(umbrella)
    assert before.value != after.value
    assert [str(change) for change in changed_files(before.manifest, after.manifest)] == [
        "charts/component/values.yaml modified",
        "charts/web/charts/component/values.yaml modified",
    ]


def test_aliases_share_one_folder(tmp_path: Path) -> None:
    chart(tmp_path / "c", "c")
    twice = chart(tmp_path / "t", "t", local("c", "../c", ", alias: one"), local("c", "../x/../c", ", alias: two"))
    assert [name for name in names(stage_chart(twice, tmp_path / "s")) if name.endswith("Chart.yaml")] == [
        "Chart.yaml",
        "charts/c/Chart.yaml",
    ]


def test_what_is_unpacked_stays_and_gets_its_own_parts(tmp_path: Path) -> None:
    chart(tmp_path / "common", "common")
    top = chart(tmp_path / "top", "top", local("sub", "charts/sub"), "{name: plain, version: 0.1.0}")
    chart(top / "charts" / "sub", "sub", local("common", "../../../common"))
    chart(top / "charts" / "plain", "plain")
    chart(top / "charts" / "unlisted", "unlisted")
    (top / "charts" / "_off").mkdir()
    (top / "charts" / "README.md").write_text("x")
    found = [name for name in names(stage_chart(top, tmp_path / "s")) if not name.endswith(("x.yaml", "values.yaml"))]
    assert found == [
        "Chart.yaml",
        "charts/README.md",
        "charts/plain/Chart.yaml",
        "charts/sub/Chart.yaml",
        "charts/sub/charts/common/Chart.yaml",
        "charts/unlisted/Chart.yaml",
    ]


def test_an_old_archive_of_a_local_part_is_left_behind(tmp_path: Path) -> None:
    chart(tmp_path / "c", "c")
    top = chart(tmp_path / "t", "t", local("c", "../c"))
    (top / "charts").mkdir()
    for name in ("c-0.0.9.tgz", "c-extra-1.0.0.tgz"):
        (top / "charts" / name).write_bytes(b"")
    assert [name for name in names(stage_chart(top, tmp_path / "s")) if name.endswith(".tgz")] == [
        "charts/c-extra-1.0.0.tgz"
    ]


def test_remote_dependencies_are_listed_until_they_are_there(tmp_path: Path) -> None:
    sub = "{name: db, version: ^1, repository: 'https://charts.example/x'}"
    chart(tmp_path / "c", "c", sub)
    top = chart(
        tmp_path / "t", "t", local("c", "../c"), "{name: q, version: 2.0.0, repository: 'oci://r.example/q'}", sub
    )
    (top / "charts").mkdir()
    (top / "charts" / "db-1.0.0.tgz").write_bytes(b"")
    staged = stage_chart(top, tmp_path / "s")
    wanted = [("q", "2.0.0", "oci://r.example/q"), ("db", "^1", "https://charts.example/x")]
    assert [(item.name, item.version, item.repository) for item in staged.remote] == wanted
    assert charts.missing_parts(top, (tmp_path.resolve(),)) == staged.remote
    (top / "charts" / "q-2.0.0.tgz").write_bytes(b"")
    chart(tmp_path / "c" / "charts" / "db", "db", version="1.2.0")
    assert stage_chart(top, tmp_path / "s").remote == ()


LOCKED = """\
dependencies:
- name: c
  repository: file://../c
  version: 0.1.0
- name: queue
  repository: http://127.0.0.1:5057
  version: 1.2.0
- name: redis
  repository: http://127.0.0.1:5057/
  version: 20.1.3
- name: queue
  repository: http://127.0.0.1:5057/
  version: 1.0.0
digest: sha256:3f26c811e5ba7314d6fd79fad296fe91b87adf61b4ee87b05a72c4efb639da00
"""
"""As `helm dependency update` (v3.22.0) wrote it, where `stub` was that repository."""


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    chart(tmp_path / "c", "c", version="0.1.0")
    several = (
        (
            '{name: queue, version: ">=1.0.0 <2", repository: "http://127.0.0.1:5057", alias: jobs, condition: '
            '"jobs.enabled,global.jobs", tags: [back, "end & more"], '
            "import-values: [data, {parent: here, child: there.é}]}"
        ),
        '{name: redis, version: ~20.1.0, repository: "@stub"}',
        '{name: queue, version: 1.0.0, repository: "alias:stub", enabled: true}',
    )
    top = chart(tmp_path / "t", "t", local("c", "../c"), *several)
    (top / "Chart.lock").write_text(LOCKED)
    return top


def test_a_lock_file_of_these_dependencies_says_their_versions_and_places(locked: Path) -> None:
    found = charts.missing_parts(locked, (locked.parent.resolve(),))
    assert [(one.key[0], one.name, one.version, one.alias) for one in found] == [
        ("http://127.0.0.1:5057", "queue", "1.2.0", "jobs"),
        ("http://127.0.0.1:5057", "redis", "20.1.3", ""),
        ("http://127.0.0.1:5057", "queue", "1.0.0", ""),
    ]


@pytest.mark.parametrize(("before", "after"), [("~20.1.0", "~20.2.0"), ("back, ", ""), ("alias: jobs, ", "")])
def test_a_lock_file_of_other_dependencies_is_refused_at_its_line(locked: Path, before: str, after: str) -> None:
    listing = locked / "Chart.yaml"
    listing.write_text(listing.read_text().replace(before, after))
    found = problem(locked)
    assert (found.code, found.where) == ("CHART_LOCK", f"{locked / 'Chart.lock'}:14")
    assert f"helm dependency update {locked}" in found.hints[0]


def test_what_is_vendored_needs_no_lock_file(locked: Path) -> None:
    (locked / "Chart.lock").write_text("dependencies: []\n")
    for name in ("queue", "redis"):
        chart(locked / "charts" / name, name, version="20.1.1")
    listing = locked / "Chart.yaml"
    listing.write_text(listing.read_text().replace("version: 1.0.0", "version: 20.1.1"))
    assert stage_chart(locked, locked.parent / "s").remote == ()


def packed(folder: Path, into: Path) -> Pin:
    """The chart of the folder as an archive in the cache `into`."""
    info = read_chart(folder)
    archive = into / "x.tgz"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(folder, info.name)
    pin = Pin(info.name, "oci://r.example/q", "^1", info.version, digest_of(archive))
    pin.archive(into).parent.mkdir(exist_ok=True)
    archive.rename(pin.archive(into))
    return pin


def test_what_is_pinned_is_part_of_the_staged_chart_and_of_its_digest(tmp_path: Path) -> None:
    top = chart(tmp_path / "t", "t", "{name: q, version: ^1, repository: 'oci://r.example/q', alias: jobs}")
    found = []
    for version in ("1.0.0", "1.1.0"):
        pin = packed(chart(tmp_path / "q", "q", version=version), tmp_path / "s")
        staged = charts.stage_chart(top, tmp_path / "s", pins={pin.key: pin})
        assert staged.remote == () and f"charts/q-{version}.tgz" in names(staged)
        assert charts.own_values(staged.path) == {"a": 1, "jobs": {"a": 1}}
        assert any(path.endswith("tgz:templates/x.yaml") for path, _ in charts.chart_texts(staged.path))
        found.append(staged.digest.value)
    assert found[0] != found[1]
    assert not (top / "charts").exists()


@pytest.mark.parametrize(
    ("dependency", "code"),
    [
        (local("c", "../none"), "CHART_DEPENDENCY"),
        (local("c", "../empty"), "CHART_DEPENDENCY"),
        (local("d", "../c"), "CHART_NAME"),
        ("{name: c, version: 0.2.0, repository: 'file://../c'}", "CHART_DEPENDENCY_VERSION"),
        (local("t", "."), "CHART_CYCLE"),
        ("{name: c, version: 0.1.0}", "CHART_DEPENDENCY"),
        ("{version: 0.1.0}", "CHART_DEPENDENCY"),
        (local("twin", "../a/twin") + "\n  - " + local("twin", "../b/twin", ", alias: x"), "CHART_AMBIGUOUS"),
    ],
)
def test_bad_dependencies_are_reported_with_file_and_line(tmp_path: Path, dependency: str, code: str) -> None:
    chart(tmp_path / "c", "c")
    chart(tmp_path / "a" / "twin", "twin")
    chart(tmp_path / "b" / "twin", "twin")
    (tmp_path / "empty").mkdir()
    top = chart(tmp_path / "t", "t", dependency)
    found = problem(top)
    line = 7 if code == "CHART_AMBIGUOUS" else 6
    assert (found.code, found.where) == (code, f"{top}/Chart.yaml:{line}")


def test_version_ranges_are_helms_to_judge(tmp_path: Path) -> None:
    chart(tmp_path / "c", "c", version="0.3.1")
    for version in ("'>=0.1.0'", "0.x", "^0.3.0", "'*'", "=0.3.1", "v0.3.1", "''"):
        chart_digest(chart(tmp_path / "t", "t", f"{{name: c, version: {version}, repository: 'file://../c'}}"))


@pytest.mark.parametrize("version", ["2.0.0", "^2.0.0", "0.1.0"])
def test_a_chart_in_the_folder_charts_is_taken_whatever_its_version(tmp_path: Path, version: str) -> None:
    top = chart(tmp_path / "t", "t", f"{{name: c, version: {version}, condition: c.enabled}}")
    chart(top / "charts" / "c", "c", version="0.1.0")
    assert "charts/c/Chart.yaml" in names(charts.stage_chart(top, tmp_path / "s"))


def archive(folder: Path, into: Path) -> None:
    """The chart of the folder, packed as that file."""
    into.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(into, "w:gz") as opened:
        opened.add(folder, read_chart(folder).name)


@pytest.mark.parametrize("file", ["c-0.1.0.tgz", "vendored.tgz"])
@pytest.mark.parametrize("now", ["", "0.2.0", "outside"])
def test_what_is_packed_is_taken_where_its_folder_is_not_that_chart(tmp_path: Path, file: str, now: str) -> None:
    top = chart(tmp_path / "t", "t", local("c", "../c" if now != "outside" else "../../../elsewhere/c"))
    archive(chart(tmp_path / "old", "c"), top / "charts" / file)
    if now:
        chart(tmp_path / "c", "c", version=now)
    assert f"charts/{file}" in names(charts.stage_chart(top, tmp_path / "s"))
    assert charts.missing_parts(top) == ()


def test_a_packed_chart_gives_way_to_its_folder(tmp_path: Path) -> None:
    top = chart(tmp_path / "t", "t", local("c", "../c"))
    archive(chart(tmp_path / "c", "c"), top / "charts/c-0.1.0.tgz")
    made = names(stage_chart(top, tmp_path / "s"))
    assert "charts/c/Chart.yaml" in made and "charts/c-0.1.0.tgz" not in made


def test_a_chart_in_the_folder_charts_is_known_by_its_own_name(tmp_path: Path) -> None:
    twice = [f"{{name: c, version: {one}, alias: {alias}, repository: 'https://charts.example.com'}}"
             for one, alias in (("0.1.0", "a"), ("0.2.0", "b"))]  # fmt: skip
    top = chart(tmp_path / "t", "t", *twice)
    chart(top / "charts/vendored-c", "c")
    chart(top / "charts/c-of-tomorrow", "c", version="0.2.0")
    staged = charts.stage_chart(top, tmp_path / "s")
    assert staged.remote == () and charts.missing_parts(top) == ()
    assert {"charts/vendored-c/Chart.yaml", "charts/c-of-tomorrow/Chart.yaml"} <= set(names(staged))


def test_a_cycle_over_several_charts_is_reported_with_its_way(tmp_path: Path) -> None:
    a = chart(tmp_path / "a", "a", local("b", "../b"))
    b = chart(tmp_path / "b", "b", local("a", "../a"))
    found = problem(a)
    assert (found.code, found.detail, found.where) == ("CHART_CYCLE", "a → b → a", f"{b}/Chart.yaml:6")


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        (None, "CHART_MISSING", ""),
        ("", "CHART_YAML", ":1"),
        ("- a\n", "CHART_YAML", ":1"),
        ("a: b\nc: [\n", "CHART_YAML", ":2"),
        ("apiVersion: v2\nname: x\n", "CHART_FIELD", ":1"),
        ("apiVersion: v2\nname: ~\nversion: 1.0.0\n", "CHART_FIELD", ":1"),
    ],
)
def test_what_is_no_chart(tmp_path: Path, text: str | None, code: str, where: str) -> None:
    if text is not None:
        (tmp_path / "Chart.yaml").write_text(text)
    found = problem(tmp_path)
    assert (found.code, found.where) == (code, f"{tmp_path}/Chart.yaml{where}")


def test_requirements_that_list_nothing_leave_those_of_the_chart(tmp_path: Path) -> None:
    chart(tmp_path / "c", "c")
    top = chart(tmp_path / "t", "t", local("c", "../c"))
    (top / "requirements.yaml").write_text("# moved to Chart.yaml\n")
    assert "charts/c/Chart.yaml" in chart_digest(top).manifest


@pytest.mark.parametrize("version", ["apiVersion: v1\n", "", "apiVersion: v2\n"])
def test_requirements_of_old_charts(tmp_path: Path, version: str) -> None:
    chart(tmp_path / "c", "c")
    top = chart(tmp_path / "t", "t")
    (top / "Chart.yaml").write_text(f"{version}name: t\nversion: 0.1.0\n")
    (top / "requirements.yaml").write_text(
        textwrap.dedent("""\
        dependencies:
        - name: c
          version: 0.1.0
          repository: file://../c
        """)
    )
    assert "charts/c/Chart.yaml" in chart_digest(top).manifest


def test_what_helm_ignores_is_no_part_of_a_chart(tmp_path: Path) -> None:
    top = chart(tmp_path / "t", "t")
    before = chart_digest(top).manifest
    (top / ".git").mkdir()
    (top / ".git" / "HEAD").write_text("x")
    (top / ".helmignore").write_text("# c\n*.swp\n\n  \n/ci/\nnotes/*.txt\n!values.yaml\n")
    for name in (".x.swp", "templates/.y.swp", "ci/values.yaml", "notes/a.txt", "notes/a.md", "sub/ci/b"):
        (top / name).parent.mkdir(exist_ok=True, parents=True)
        (top / name).write_text("x")
    after = chart_digest(top).manifest
    assert set(after) - set(before) == {".helmignore", "notes/a.md", "sub/ci/b"}


def test_links_are_followed_and_never_in_a_circle(tmp_path: Path) -> None:
    top = chart(tmp_path / "t", "t")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "f").write_text("x")
    (top / "files").symlink_to("../shared")
    staged = stage_chart(top, tmp_path / "s")
    assert (staged.path / "files" / "f").read_text() == "x" and not (staged.path / "files").is_symlink()
    (top / "loop").symlink_to(".")
    assert problem(top).code == "CHART_LINK"
    (top / "loop").unlink()
    (top / "gone").symlink_to("nowhere")
    assert problem(top).code == "CHART_LINK"


def test_the_newest_staged_charts_stay(tmp_path: Path) -> None:
    top, into = chart(tmp_path / "t", "t"), tmp_path / "s"
    other = stage_chart(chart(tmp_path / "t-a", "t-a"), into)
    (into / ".staging-old").mkdir()
    os.utime(into / ".staging-old", (1, 1))
    (into / ".staging-new").mkdir()
    paths = []
    for number in range(charts.KEEP + 3):
        (top / "values.yaml").write_text(f"a: {number}\n")
        paths.append(stage_chart(top, into).path)
        os.utime(paths[-1], (1000 + number, 1000 + number))
    assert [path.exists() for path in paths] == [False] * 3 + [True] * charts.KEEP
    assert other.path.exists() and (into / ".staging-new").exists() and not (into / ".staging-old").exists()


def test_nothing_half_copied_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top, into = chart(tmp_path / "t", "t"), tmp_path / "s"

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfileobj", fails)
        with pytest.raises(DeployError) as caught:
            stage_chart(top, into)
    assert caught.value.problems[0].detail == "No space left on device"
    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfileobj", lambda _, to: to.write(b"edited meanwhile"))
        with pytest.raises(DeployError) as caught:
            stage_chart(top, into)
    assert "changed" in caught.value.problems[0].detail
    assert list(into.iterdir()) == []


def test_somebody_else_may_be_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top, into = chart(tmp_path / "t", "t"), tmp_path / "s"
    rename = Path.rename

    def late(self: Path, target: Path) -> Path:
        target.mkdir()
        (target / "theirs").write_text("x")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    staged = stage_chart(top, into)
    assert [path.name for path in into.iterdir()] == [staged.path.name]
    assert (staged.path / "theirs").exists()


@pytest.mark.parametrize("name", ["../../../../home/.ssh", "a/b", "..", ".ssh", "c:evil", "a\\b", "a\nb", "x" * 250])
@pytest.mark.parametrize("field", ["name", "alias", "chart"])
def test_a_name_that_is_a_path_is_refused_and_nothing_is_written(tmp_path: Path, name: str, field: str) -> None:
    quoted = json.dumps(name)
    part = chart(tmp_path / "evil", json.dumps(name if field != "alias" else "part"))
    item = f"{{name: {quoted if field != 'alias' else 'part'}, version: 0.1.0, repository: 'file://../evil'"
    top = chart(tmp_path / "deep" / "t", "t", item + (f", alias: {quoted}}}" if field == "alias" else "}"))
    found = problem(part if field == "chart" else top)
    assert found.code == "NAME_PATH"
    assert found.where == (f"{part}/Chart.yaml:1" if field == "chart" else f"{top}/Chart.yaml:6")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "evil"]


@pytest.mark.parametrize("kind", ["file", "folder", "part", "dependency"])
def test_what_leads_out_of_the_repository_is_refused_unless_it_is_allowed(tmp_path: Path, kind: str) -> None:
    outside = chart(tmp_path / "home" / "part", "part")
    top = chart(tmp_path / "repository" / "t", "t", *([local("part", str(outside))] if kind == "dependency" else []))
    (top / "charts").mkdir()
    links = {"file": ("templates/y.yaml", "templates/x.yaml"), "folder": ("files", ""), "part": ("charts/part", "")}
    if kind in links:
        at, to = links[kind]
        (top / at).symlink_to(outside / to)
    found = problem(top)
    assert found.code == "PATH_OUTSIDE" and found.hints
    assert found.where == (f"{top}/Chart.yaml:6" if kind == "dependency" else str(top / links[kind][0]))
    assert names(charts.stage_chart(top, tmp_path / "s", within=(tmp_path.resolve() / "home",)))


def test_a_staged_chart_is_its_owners_alone(tmp_path: Path) -> None:
    staged = stage_chart(chart(tmp_path / "t", "t"), tmp_path / "s")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (staged.path, *staged.path.rglob("*")) if path.is_dir()}
    assert modes == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in staged.path.rglob("*") if path.is_file()} == {0o600}
