from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deployer.config.load import LoadedSpec, find_spec, load_spec, profile_names
from deployer.core.errors import DeployError, ExitCode, Problem
from tests import ROOT

BASE = """\
apiVersion: todo-deploy/v1
application: todo
cluster:
  cpus: 4
  addons: [ingress, metrics-server]
releases:
  app:
    chart: chart
    values:
      replicas: 2
      limits: {cpu: 500m, memory: 1Gi}
"""

Load = Callable[..., LoadedSpec]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a spec of this text, with a local overlay of that one."""

    def loaded(text: str = BASE, *overrides: str, local: str | None = None, profile: str | None = None) -> LoadedSpec:
        (tmp_path / "todo-deploy.yaml").write_text(text)
        if local is not None:
            (tmp_path / "todo-deploy.local.yaml").write_text(local)
        return load_spec(tmp_path / "todo-deploy.yaml", profile, overrides)

    return loaded


def problems(load: Load, text: str, *overrides: str, **more: str) -> tuple[Problem, ...]:
    with pytest.raises(DeployError) as caught:
        load(text, *overrides, **more)
    assert caught.value.exit_code is ExitCode.INPUT
    return caught.value.problems


def values(loaded: LoadedSpec) -> dict[str, object]:
    return loaded.spec.releases["app"].values


def test_a_spec_is_read_with_its_folder(load: Load, tmp_path: Path) -> None:
    loaded = load()
    assert loaded.spec.application == "todo"
    assert loaded.root == tmp_path


def test_every_value_has_its_line(load: Load) -> None:
    loaded = load()
    assert str(loaded.origin("cluster", "cpus")) == "todo-deploy.yaml:4"
    assert str(loaded.origin("cluster", "addons", 1)) == "todo-deploy.yaml:5"
    assert str(loaded.origin("releases", "app", "values", "limits", "cpu")) == "todo-deploy.yaml:11"


def test_what_is_not_written_has_the_line_of_what_would_hold_it(load: Load) -> None:
    assert str(load().origin("cluster", "memory")) == "todo-deploy.yaml:3"
    assert str(load().origin("rollout", "hold")) == "todo-deploy.yaml:1"


def test_maps_merge_lists_and_scalars_replace_and_null_deletes(load: Load) -> None:
    local = (
        "cluster: {addons: [dashboard], cpus: null}\n"
        "releases: {app: {values: {replicas: 1, limits: {memory: null, disk: 1Gi}}}}\n"
    )
    loaded = load(local=local)
    assert values(loaded) == {"replicas": 1, "limits": {"cpu": "500m", "disk": "1Gi"}}
    assert loaded.spec.cluster.addons == ("dashboard",)
    assert "cpus" not in loaded.document["cluster"]


def test_a_map_takes_the_place_of_a_scalar_and_the_other_way_round(load: Load) -> None:
    loaded = load(local="releases: {app: {values: {replicas: {min: 1}, limits: none}}}\n")
    assert values(loaded) == {"replicas": {"min": 1}, "limits": "none"}
    assert str(loaded.origin("releases", "app", "values", "limits", "cpu")) == "todo-deploy.local.yaml:1"


def test_the_local_overlay_is_the_origin_of_what_it_says(load: Load) -> None:
    loaded = load(local="\ncluster:\n  cpus: 2\n")
    assert loaded.spec.cluster.cpus == 2
    assert str(loaded.origin("cluster", "cpus")) == "todo-deploy.local.yaml:3"
    assert str(loaded.origin("cluster", "addons")) == "todo-deploy.yaml:5"


PROFILES = BASE + "profiles:\n  small:\n    cluster: {cpus: 1}\n  empty:\n"


def test_a_profile_lies_over_the_spec_and_its_overlay(load: Load) -> None:
    loaded = load(PROFILES, local="cluster: {cpus: 3}\n", profile="small")
    assert (loaded.spec.cluster.cpus, loaded.profile) == (1, "small")
    assert str(loaded.origin("cluster", "cpus")) == "todo-deploy.yaml:14"
    assert load(PROFILES, local="cluster: {cpus: 3}\n").spec.cluster.cpus == 3
    assert load(PROFILES, profile="empty").spec.cluster.cpus == 3


def test_a_profile_of_the_overlay_is_known(load: Load) -> None:
    loaded = load(local="profiles:\n  mine:\n    namespace: mine\n", profile="mine")
    assert loaded.spec.namespace == "mine"


def test_an_unknown_profile_names_the_nearest(load: Load) -> None:
    (problem,) = problems(load, PROFILES, profile="smal")
    assert problem.code == "PROFILE_UNKNOWN"
    assert problem.hints == ("did you mean `--profile small`?",)
    assert problem.where == "todo-deploy.yaml:12"
    assert "empty, small" in problem.detail


def test_profile_names_are_shown(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(PROFILES)
    assert profile_names(tmp_path / "spec.yaml") == ("small", "empty")
    (tmp_path / "spec.local.yaml").write_text("profiles: {empty: null, mine: {}}\n")
    assert profile_names(tmp_path / "spec.yaml") == ("small", "mine")


def test_overrides_win_over_all_and_have_yaml_types(load: Load) -> None:
    loaded = load(
        PROFILES,
        "cluster.cpus=8",
        "releases.app.values.replicas=3",
        "releases.app.values.debug=true",
        "releases.app.values.name=x=y",
        "releases.app.values.empty=",
        r"releases.app.values.a\.b=1",
        profile="small",
    )
    assert loaded.spec.cluster.cpus == 8
    made = values(loaded)
    assert (made["replicas"], made["debug"], made["name"], made["empty"], made["a.b"]) == (3, True, "x=y", "", 1)
    assert str(loaded.origin("cluster", "cpus")) == "--set"


@pytest.mark.parametrize("override", ["cluster.cpus", "=1", "cluster..cpus=1", ".=1"])
def test_an_override_out_of_shape_is_named(load: Load, override: str) -> None:
    (problem,) = problems(load, BASE, override)
    assert problem.code == "SET_MALFORMED"


@pytest.mark.parametrize("override", ["cluster.cpus=[1", "cluster.cpus={a: 1", 'cluster.cpus="x'])
def test_an_override_whose_value_is_no_yaml_is_no_bug_of_ours(load: Load, override: str) -> None:
    (problem,) = problems(load, BASE, override)
    assert problem.code == "SET_MALFORMED"


def test_a_wrong_override_is_reported_as_such(load: Load) -> None:
    (problem,) = problems(load, BASE, "cluster.cpus=many")
    assert (problem.code, problem.where) == ("SPEC_INVALID", "--set")


@pytest.mark.parametrize(
    ("key", "hint", "line"),
    [
        ("aplication: x\n", "did you mean `application`?", 12),
        ("urls: {web: {servce: x, ingressHost: y}}\n", "did you mean `service`?", 12),
        ("rollout: {failfast: strict}\n", "did you mean `failFast`?", 12),
        ("secrets: {s: {keys: {K: {lenght: 20}}}}\n", "did you mean `length`?", 12),
        ("somethingElseEntirely: 1\n", "todo-deploy schema", 12),
    ],
)
def test_an_unknown_key_has_its_line_and_the_nearest_key(load: Load, key: str, hint: str, line: int) -> None:
    found = [one for one in problems(load, BASE + key) if one.code == "SPEC_UNKNOWN_KEY"]
    assert [(one.where, one.hints) for one in found] == [(f"todo-deploy.yaml:{line}", (hint,))]


def test_the_unknown_key_of_an_overlay_has_the_overlays_line(load: Load) -> None:
    (problem,) = problems(load, BASE, local="cluster:\n  cpu: 2\n")
    assert (problem.where, problem.hints) == ("todo-deploy.local.yaml:2", ("did you mean `cpus`?",))


def test_all_problems_are_reported_at_once(load: Load) -> None:
    text = BASE.replace("cpus: 4", "cpus: 0") + "unknown: 1\nnamespace: Not A Name\n"
    found = problems(load, text)
    assert sorted(one.where for one in found) == ["todo-deploy.yaml:12", "todo-deploy.yaml:13", "todo-deploy.yaml:4"]


def test_a_missing_key_has_the_line_of_what_lacks_it(load: Load) -> None:
    (problem,) = problems(load, BASE.replace("    chart: chart\n", ""))
    assert (problem.code, problem.title) == ("SPEC_MISSING_KEY", "missing key `releases.app.chart`")
    assert problem.where == "todo-deploy.yaml:7"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1, 2\nb: 3\n", 2),
        ("a: 1\n\tb: 2\n", 2),
        ("a: 1\na: 2\n", 2),
        ("a: *nothing\n", 1),
        ("a: 1\n---\nb: 2\n", 3),
        ("a: 1\n---\n---\nb: 2\n", 3),
    ],
)
def test_what_is_no_yaml_has_its_line(load: Load, text: str, line: int) -> None:
    (problem,) = problems(load, text)
    assert problem.code == "SPEC_YAML"
    assert problem.where == f"todo-deploy.yaml:{line}"


@pytest.mark.parametrize("text", ["", "[]", "text", "3"])
def test_a_spec_that_is_no_map_is_said_so(load: Load, text: str) -> None:
    (problem,) = problems(load, text)
    assert (problem.code, problem.where) == ("SPEC_YAML", "todo-deploy.yaml:1")


@pytest.mark.parametrize("rest", ["secrets:\n", "urls: null\n", "allowOutside:\n", "rollout:\n", "---\n", "...\n---\n"])
def test_a_part_whose_lines_are_all_comments_is_not_there(load: Load, rest: str) -> None:
    assert load(BASE + rest).spec == load().spec
    assert load(BASE.replace("  cpus: 4\n  addons: [ingress, metrics-server]\n", "")).spec.cluster.addons == ()
    bare = BASE.replace("    values:\n      replicas: 2\n      limits: {cpu: 500m, memory: 1Gi}\n", "    values:\n")
    assert values(load(bare)) == {}


def test_a_part_within_a_mapping_has_its_defaults_where_nothing_is_written(load: Load) -> None:
    assert (
        load(BASE + "secrets:\n  s:\n    keys:\n      A:\n      B: {kind: optional}\n").spec.secrets["s"].keys["A"].kind
    )
    found = problems(load, BASE + "images:\n  web:\n")
    assert {(one.code, one.where) for one in found} == {("SPEC_MISSING_KEY", "todo-deploy.yaml:13")}
    assert load(BASE + "env: {example: null}\n").spec.env.example is None


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("application=My_App", "small letters"),
        ("namespace=a.b", "small letters"),
        ("images.web={repository: A/b, context: .}", "small letters"),
        ("images.web={repository: b, context: ., version: 1.10}", "a text"),
        ("images.web={repository: b, context: ., args: {A: 1.10}}", "a text"),
        ("env.files=.env", "a list"),
        ("releases.app.values=x", "a mapping"),
        ("urls.web=x", "a mapping"),
        ("cluster.memory=8 GB", "512Mi"),
    ],
)
def test_what_a_value_should_be_is_said_in_words(load: Load, override: str, says: str) -> None:
    (problem,) = problems(load, BASE, override)
    assert says in problem.title and "^" not in problem.title and "tuple" not in problem.title
    assert problem.hints[-1] == "todo-deploy schema"


def test_a_name_that_nothing_has_is_refused_at_its_line(load: Load) -> None:
    found = problems(load, BASE + "urls: {a: {service: b, when: c}}\ncors:\n  d: {service: b, urls: [e]}\n")
    assert [one.where for one in found] == ["todo-deploy.yaml:12", "todo-deploy.yaml:14"]


def test_anchors_and_merge_keys_are_understood(load: Load) -> None:
    text = BASE + "switches:\n  a: &on {whenSet: A}\n  b: *on\n  c: {<<: *on}\n"
    switches = load(text).spec.switches
    assert [switches[name].when_set for name in "abc"] == ["A", "A", "A"]


def test_values_mean_in_the_spec_what_they_mean_in_a_values_file(load: Load) -> None:
    text = BASE.replace("replicas: 2", "replicas: 2\n      a: no\n      b: 0440\n      c: 22:30\n      d: 2026-01-02")
    made = values(load(text))
    assert {key: made[key] for key in "abcd"} == {"a": False, "b": 288, "c": "22:30", "d": "2026-01-02"}


def test_a_byte_order_mark_is_passed_over(load: Load) -> None:
    assert load("\ufeff" + BASE).spec.application == "todo"


def test_a_spec_that_is_not_text_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "todo-deploy.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DeployError) as caught:
        load_spec(path)
    assert (caught.value.problems[0].code, caught.value.problems[0].where) == ("SPEC_YAML", "todo-deploy.yaml:1")


def test_a_spec_that_is_a_folder_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DeployError) as caught:
        load_spec(tmp_path)
    assert caught.value.problems[0].code == "SPEC_UNREADABLE"


def test_no_spec_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DeployError) as caught:
        load_spec(tmp_path / "absent.yaml")
    assert caught.value.problems[0].code == "SPEC_MISSING"


def test_the_nearest_spec_above_is_found(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "todo-deploy.yaml").write_text(BASE)
    assert find_spec(inner) == tmp_path / "todo-deploy.yaml"
    (tmp_path / "a" / "todo-deploy.yaml").write_text(BASE)
    assert find_spec(inner) == tmp_path / "a" / "todo-deploy.yaml"


def test_the_specs_of_this_repository_are_valid() -> None:
    root = ROOT
    found = sorted(path for path in root.glob("*.yaml") if "todo-deploy" in path.name and "local" not in path.name)
    assert found
    for path in found:
        names = profile_names(path)
        for profile in (None, *names):
            load_spec(path, profile)


def test_a_link_to_a_spec_is_that_spec_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "todo-deploy.yaml").write_text(BASE + "profiles: {small: {cluster: {cpus: 1}}}\n")
    link = tmp_path / "topologies" / "same.yaml"
    link.parent.mkdir()
    link.symlink_to("../todo-deploy.yaml")
    assert load_spec(link).root == tmp_path
    assert load_spec(link, "small").spec.cluster.cpus == 1
    assert profile_names(link) == ("small",)


@pytest.mark.parametrize("profile", ["true", "[a]", "text", "3"])
@pytest.mark.parametrize("chosen", [None, "small"])
def test_a_profile_that_is_no_map_is_refused_at_its_line(load: Load, profile: str, chosen: str | None) -> None:
    (problem,) = problems(load, f"{BASE}profiles:\n  small: {profile}\n", profile=chosen or "small")
    assert (problem.code, problem.where) == ("SPEC_INVALID", "todo-deploy.yaml:13")
    with pytest.raises(DeployError):
        load(f"{BASE}profiles: {profile}\n")


@pytest.mark.parametrize("value", ["2026-02-30", "2026-02-28", "!own x", "=", "!!timestamp x", "!!binary x"])
def test_a_namespace_that_is_a_date_or_a_sign_is_a_text(load: Load, value: str) -> None:
    text = f"{BASE}namespace: {value}\n"
    if value.startswith("2026"):
        assert load(text).spec.namespace == value
    elif value == "!own x":
        assert load(text).spec.namespace == "x"
    else:
        assert problems(load, text)[0].where == "todo-deploy.yaml:12"


@pytest.mark.parametrize("line", ["namespace: !!int x", "namespace: \x07", "x: " + "[" * 3000, "x: " + "- " * 3000])
def test_what_no_value_can_be_made_of_is_refused_at_its_line(load: Load, line: str) -> None:
    (problem,) = problems(load, f"{BASE}{line}\n")
    assert (problem.code, problem.where) == ("SPEC_YAML", "todo-deploy.yaml:12")


@pytest.mark.parametrize("override", ["a=!!int x", "a=[", "a=\x07", "a=b: c: d", ".".join("a" * 3000) + "=1"])
def test_an_override_that_is_not_yaml_is_refused(load: Load, override: str) -> None:
    (problem,) = problems(load, BASE, override)
    assert problem.code == "SET_MALFORMED"


def test_a_spec_needs_an_env_file(load: Load) -> None:
    (problem,) = problems(load, f"{BASE}env: {{files: []}}\n")
    assert (problem.code, problem.where) == ("SPEC_INVALID", "todo-deploy.yaml:12")
