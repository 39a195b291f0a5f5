"""Every command that changes or removes something, against everything that is not ours: refused, or left alone."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployer import composition
from deployer.cli import exec_
from deployer.cli.entry import main
from deployer.commands import connection
from deployer.core.errors import ExitCode, refused
from deployer.core.ports import INPUTS_LABEL
from deployer.kube import client
from deployer.state import record
from deployer.state.record import ReleaseRecord
from tests.fakes.cluster import RUNNING
from tests.fakes.helm import release_secret
from tests.fakes.play import played
from tests.fakes.scene import TOOLS
from tests.fakes.shop import SPEC, Shop

OPEN_KUBE = composition.open_kube  # before a test puts a fake in its place

TEXT = SPEC.replace("secrets:\n", "secrets:\n  other: {naming: stable, namespace: vault, keys: {TOKEN: {}}}\n")
VERBS: dict[str, tuple[str, ...]] = {
    "up": ("up", "--hold", "0"),
    "--adopt": ("up", "--hold", "0", "--adopt"),
    "--recreate": ("up", "--hold", "0", "--recreate-cluster", "--yes"),
    "down": ("down",),
    "--volumes": ("down", "--volumes", "--yes"),
    "--cluster": ("down", "--cluster", "--yes"),
    "rollback": ("rollback", "--hold", "0"),
    "restart": ("restart", "web"),
    "exec": ("exec", "web", "--", "true"),
    "prune": ("images", "prune", "--yes"),
}
KUBE = {"apiVersion": "v1", "kind": "Secret"}
LEFT, TAKEN, MENDED = "left alone", "taken over", "put right"


def put(shop: Shop, kind: str, name: str, namespace: str, **more: Any) -> None:
    shop.kube.put({"kind": kind, "metadata": {"name": name, "namespace": namespace, **more}})


def relabelled(shop: Shop, name: str, labels: dict[str, str]) -> None:
    found = shop.kube.get("Secret", "default", name)
    assert found is not None
    shop.kube.put({**found, "metadata": {**found["metadata"], "labels": labels}})


def context(shop: Shop) -> None:
    """The kubeconfig's context of the profile's name leads to a cluster that is not Minikube's."""
    path = shop.here.kubeconfig
    path.parent.mkdir(parents=True, exist_ok=True)
    named = {"name": "todo-deploy", "cluster": {"server": "https://work.example:6443"}}
    inside = {"cluster": "todo-deploy", "user": "me"}
    path.write_text(json.dumps({"clusters": [named], "contexts": [{"name": "todo-deploy", "context": inside}]}))


def node(shop: Shop) -> None:
    shop.cluster.foreign = refused("PROFILE_FOREIGN", "another user's")


def moved(shop: Shop) -> None:
    shop.cluster.current = replace(RUNNING, moved_from="https://192.0.2.99:8443")


def persons_release(shop: Shop) -> None:
    for secret in shop.kube.list("Secret", labels="owner=helm,name=web"):
        shop.kube.drop("Secret", "default", secret["metadata"]["name"])
    shop.kube.put(release_secret("web", "default", 7, "deployed"))


def others_release(shop: Shop) -> None:
    persons_release(shop)
    shop.kube.put(release_secret("web", "default", 7, "deployed", labels={INPUTS_LABEL: "theirs"}))
    garden(shop, ReleaseRecord("default", 7, "theirs", ()))


def garden(shop: Shop, web: ReleaseRecord | None = None) -> None:
    """Another application was deployed to the cluster."""
    put(shop, "Namespace", "plants", "")
    known = record.with_release(record.new_record(), "web", web) if web is not None else record.new_record()
    shop.kube.put(record.encode("garden", "plants", known))


def foreign_object(kind: str) -> Callable[[Shop], None]:
    return lambda shop: put(shop, kind, "somebodys", "vault")


KINDS = ("ConfigMap", "Secret", "ServiceAccount", "Role", "NetworkPolicy", "Ingress", "HorizontalPodAutoscaler",
         "Lease", "PersistentVolumeClaim", "CronJob", "Widget")  # fmt: skip


def all_but(code: str, **others: str) -> dict[str, str]:
    """The expected end of each verb; the names of verbs with dashes are written without them."""
    return {verb: others.get(verb.strip("-"), code) for verb in VERBS}


IN_CLUSTER = all_but(LEFT, recreate="CLUSTER_SHARED", cluster="CLUSTER_SHARED")
FOREIGN: dict[str, tuple[Callable[[Shop], None], dict[str, str]]] = {
    "context of another cluster": (context, all_but("CONTEXT_FOREIGN")),
    "node of another user": (node, all_but("PROFILE_FOREIGN")),
    "context with an old address": (moved, all_but("CLUSTER_MOVED", up=MENDED, adopt=MENDED, rollback=MENDED)),
    "release of a person": (
        persons_release,
        all_but("RELEASE_FOREIGN", adopt=TAKEN),
    ),
    "release of another application": (
        others_release, all_but("RELEASE_TAKEN")
    ),
    "Secret of a person": (
        lambda shop: relabelled(shop, "app", {}),
        all_but("SECRET_FOREIGN", adopt=TAKEN),
    ),
    "Secret of another application": (
        lambda shop: relabelled(shop, "app", {"todo-deploy.dev/application": "garden"}),
        all_but("SECRET_TAKEN"),
    ),
    "record of another application": (
        lambda shop: relabelled(shop, "todo-deploy.shop", {"todo-deploy.dev/record": "garden"}),
        all_but("RECORD_FOREIGN"),
    ),
    "another application beside": (garden, IN_CLUSTER),
    **{f"{kind} in a namespace of ours": (foreign_object(kind), IN_CLUSTER) for kind in KINDS},
}  # fmt: skip


class Scene:
    """The application at its second revision, the command line, and something that is not ours."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.shop = Shop(folder, patch)
        patch.setenv("HOME", str(folder))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        for name in ("KUBECONFIG", "MINIKUBE_HOME", "DOCKER_HOST"):
            patch.delenv(name, raising=False)
        (self.shop.root / "todo-deploy.yaml").write_text(TEXT)
        patch.chdir(self.shop.root)
        patch.setattr(connection, "locate_toolchain", lambda *_: TOOLS)
        patch.setattr(exec_, "_run", lambda *_: 0)
        patch.setattr(composition, "open_kube", OPEN_KUBE)
        patch.setattr(composition, "SystemClock", lambda: self.shop.kube.clock)
        patch.setattr(client, "KubeApi", lambda *_: self.shop.kube)
        played(self.shop.up("1"))
        played(self.shop.up("2"))
        self.shop.kube.put({**KUBE, "metadata": {"name": "somebodys-own", "namespace": "kube-system"}})

    def state(self) -> dict[str, Any]:
        """All that a command could change: cluster, kubeconfig, images, and what this machine remembers."""
        files = {
            str(path): path.read_bytes()
            for path in (self.shop.here.state_dir / "deployments").rglob("*")
            if path.is_file() and path.name != "lock"
        }
        config = self.shop.here.kubeconfig
        return {
            "objects": self.shop.kube.state(),
            "cluster": (self.shop.cluster.current, self.shop.cluster.starts, self.shop.cluster.contexts_written),
            "images": dict(self.shop.images.known),
            "files": files,
            "kubeconfig": config.read_text() if config.exists() else None,
        }

    def foreign(self, before: dict[str, Any]) -> dict[Any, Any]:
        """What was put there last."""
        now = self.shop.kube.state()
        return {key: one for key, one in now.items() if before["objects"].get(key) != one}


def ran(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code and all that was said."""
    handler = signal.getsignal(signal.SIGTERM)
    capsys.readouterr()
    code = 0
    try:
        main([*words, "--progress", "plain"] if words[0] != "exec" else list(words))
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        signal.signal(signal.SIGTERM, handler)
    said = capsys.readouterr()
    return code, said.out + said.err


@pytest.mark.parametrize("thing", FOREIGN)
def test_what_is_not_ours_is_refused_or_left_alone(
    thing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    appear, expected = FOREIGN[thing]
    found = {}
    for number, (verb, words) in enumerate(VERBS.items()):
        (folder := tmp_path / str(number)).mkdir()
        with pytest.MonkeyPatch.context() as patch:
            scene = Scene(folder, patch)
            own = scene.state()
            appear(scene.shop)
            foreign, before = scene.foreign(own), scene.state()
            code, said = ran(words, capsys)
            if code == ExitCode.REFUSED:
                found[verb] = said.partition("error[")[2].partition("]")[0]
                assert scene.state() == before, f"{verb} was refused and has changed something"
                continue
            # Nothing here replaces the pods that are to restart.
            ended = code == (ExitCode.PREVIOUS_SERVES if verb == "restart" else ExitCode.OK)
            found[verb] = expected[verb] if ended else f"{code}: {said}"
            now = scene.shop.kube.state()
            if expected[verb] == LEFT:
                assert {key: now.get(key) for key in foreign} == foreign, f"{verb} has changed what is not ours"
            if verb == "--volumes" and any(key[1] == "vault" for key in foreign):
                assert ("Namespace", "", "vault") in now and "NAMESPACE_KEPT" in said
    assert found == expected


def test_the_table_of_commands_and_foreign_things() -> None:
    """Shown by `pytest -s`: the expectations that the test above holds the commands to."""
    width = max(map(len, FOREIGN))
    lines = [f"{'':{width}}  " + "  ".join(f"{verb:15}" for verb in VERBS)]
    lines += [
        f"{thing:{width}}  " + "  ".join(f"{expected[verb]:15}" for verb in VERBS)
        for thing, (_, expected) in FOREIGN.items()
    ]
    print("", *lines, sep="\n")
    assert len(lines) == len(FOREIGN) + 1
