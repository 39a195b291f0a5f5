"""What a revision lacks is made again from its recorded commit or from the values at hand, or named with the reason."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deployer.core.errors import DeployError, ExitCode
from deployer.core.events import Event, Item, Warned
from deployer.helm import storage
from deployer.sources.git import NoCheckout, checked_out
from tests.fakes.play import failed, played
from tests.fakes.shop import Shop

GIT = ["git", "-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false"]


def git(root: Path, *words: str) -> str:
    return subprocess.run([*GIT, "-C", str(root), *words], check=True, capture_output=True, text=True).stdout.strip()


def commit(root: Path) -> str:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "as it is")
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Version 1 and then 2 were committed and deployed; the clone is at 2."""
    made = Shop(tmp_path, monkeypatch)
    git(tmp_path, "init", "--quiet", str(made.root))
    (made.root / ".gitignore").write_text(".env\n*.local.yaml\n")
    for version in ("1", "2"):
        made.write(version)
        commit(made.root)
        played(made.up(version))
    return made


def images(shop: Shop) -> list[str]:
    return [one.images["api"] for one in shop.record.history]


def details(error: DeployError) -> list[tuple[str, str]]:
    return [(one.code, one.detail) for one in error.problems]


def notices(events: list[Event]) -> list[str]:
    return [one.problem.title for one in events if isinstance(one, Warned) and one.problem.code == "REBUILDING"]


def test_a_pruned_image_is_built_again_from_its_commit(shop: Shop) -> None:
    ref = images(shop)[0]
    shop.images.remove(ref)
    events, _ = played(shop.back())
    sha = shop.record.history[0].commit[:7]
    assert notices(events) == [f"image `{ref}` was pruned: it is built again from commit {sha}"]
    assert (shop.serves[0], shop.images.image(ref) is not None) == ("1", True)
    assert "LABEL v=2" in (shop.root / "api/Dockerfile").read_text(), "the work tree is as it was"
    assert git(shop.root, "status", "--porcelain") == ""
    assert git(shop.root, "worktree", "list").count("\n") == 0


def test_what_the_work_tree_still_holds_needs_no_commit(shop: Shop) -> None:
    played(shop.up("1"))  # dirty: the clone's last commit is of version 2
    played(shop.up("2"))
    ref = images(shop)[0]
    shop.images.remove(ref)
    shop.write("1")
    events, _ = played(shop.back(1))
    assert notices(events) == [f"image `{ref}` was pruned: it is built again from the work tree"]


def test_uncommitted_changes_are_in_no_commit(shop: Shop) -> None:
    played(shop.up("3"))
    played(shop.up("2"))
    shop.images.remove(images(shop)[2])
    _, error = failed(shop.back(3))
    sha = shop.record.history[2].commit[:7]
    why = f"it was built from commit {sha} with uncommitted changes, which no commit holds"
    assert details(error) == [("ROLLBACK_IMAGE", why)]
    assert (error.exit_code, shop.serves[0]) == (ExitCode.REFUSED, "2")


def test_a_commit_that_this_clone_does_not_have(shop: Shop) -> None:
    shop.images.remove(images(shop)[0])
    sha = shop.record.history[0].commit
    git(shop.root, "checkout", "--quiet", "--orphan", "other")
    commit(shop.root)
    git(shop.root, "branch", "--list", "--format", "%(refname:short)")
    for name in git(shop.root, "branch", "--format", "%(refname:short)").splitlines():
        if name != "other":
            git(shop.root, "branch", "--delete", "--force", name)
    git(shop.root, "reflog", "expire", "--expire=now", "--all")
    git(shop.root, "gc", "--quiet", "--prune=now")
    _, error = failed(shop.back())
    assert details(error) == [("ROLLBACK_IMAGE", f"commit {sha[:7]} is not in this clone (git fetch may bring it)")]


def test_another_digest_is_another_image(shop: Shop) -> None:
    """As where a base image or a build argument is another one here: the tag would lie."""
    shop.images.remove(images(shop)[0])
    (shop.root / "todo-deploy.local.yaml").write_text("images: {api: {args: {MODE: other}}}\n")
    _, error = failed(shop.back())
    sha = shop.record.history[0].commit[:7]
    why = f"commit {sha} builds another image here: build arguments or base images differ"
    assert details(error) == [("ROLLBACK_IMAGE", why)]


def test_outside_git_there_is_no_commit_to_build_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop(tmp_path, monkeypatch)
    for version in ("1", "2"):
        played(shop.up(version))
    shop.images.remove(images(shop)[0])
    _, error = failed(shop.back())
    assert "no commit is recorded" in error.problems[0].detail


def test_a_deleted_copy_is_made_again_from_the_same_values(shop: Shop) -> None:
    copy = shop.record.history[0].secrets[0].copy
    shop.kube.drop("Secret", "default", copy)
    events, _ = played(shop.back(env={"TOKEN": "token-of-1"}))
    assert shop.serves == ("1", "token-of-1")
    assert copy in {one.item for one in events if isinstance(one, Item)}
    found = shop.kube.get("Secret", "default", copy)
    assert found is not None
    assert found["immutable"] is True


def test_a_deleted_copy_is_made_again_from_the_documented_secret(shop: Shop) -> None:
    copy = shop.record.history[1].secrets[0].copy
    shop.kube.drop("Secret", "default", copy)
    played(shop.back(2))
    assert shop.serves == ("2", "token-of-2")
    assert shop.kube.get("Secret", "default", copy) is not None


def test_a_deleted_copy_of_other_values_is_named_and_nothing_changes(shop: Shop) -> None:
    copy = shop.record.history[0].secrets[0].copy
    shop.kube.drop("Secret", "default", copy)
    _, error = failed(shop.back())
    assert [(one.code, one.title) for one in error.problems] == [
        ("ROLLBACK_SECRET", f"Secret `{copy}` of revision 1 is gone")
    ]
    assert "token-of" not in str([one.to_wire() for one in error.problems])
    assert shop.serves == ("2", "token-of-2")


def test_a_release_that_is_gone_is_named_beside_the_rest(shop: Shop) -> None:
    shop.images.remove(images(shop)[0])
    shop.kube.drop("Secret", "default", storage.secret_name("web", 1))
    shop.images.built.clear()
    _, error = failed(shop.back())
    assert [one.code for one in error.problems] == ["ROLLBACK_RELEASE"]
    assert shop.images.built == [], "nothing is built for a way back that cannot be gone"


def test_a_checkout_holds_what_an_export_would_leave_out(shop: Shop) -> None:
    (shop.root / ".gitattributes").write_text("api/Dockerfile export-ignore\n")
    sha = commit(shop.root)
    with checked_out(shop.root / "todo-deploy.yaml", sha, shop.here.env) as (path, _):
        assert (path.parent / "api/Dockerfile").is_file()
        assert path.name == "todo-deploy.yaml"
    assert not path.exists()


def test_a_spec_below_the_top_of_its_clone(shop: Shop) -> None:
    (shop.root / "deep").mkdir()
    (shop.root / "todo-deploy.yaml").rename(shop.root / "deep/todo-deploy.yaml")
    sha = commit(shop.root)
    with checked_out(shop.root / "deep/todo-deploy.yaml", sha, shop.here.env) as (path, _):
        assert path.parent.name == "deep"
    with pytest.raises(NoCheckout, match=r"has no deep/todo-deploy.yaml"):
        checked_out(shop.root / "deep/todo-deploy.yaml", f"{sha}~1", shop.here.env).__enter__()
