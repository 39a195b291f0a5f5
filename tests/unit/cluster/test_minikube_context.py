"""The kubeconfig gets the profile's context from Minikube, and the user's current one stays what it was."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from deployer.cluster.minikube import Minikube, NodeContainers
from deployer.core.ports import StartRequest
from deployer.toolchain import Toolchain
from tests.fakes.play import failed

# As Minikube does it: its entry is written, and it makes itself the current context where that suits it.
MINIKUBE = """
import json, os, pathlib, sys
path = pathlib.Path(os.environ["KUBECONFIG"])
document = json.loads(path.read_text()) if path.exists() else {}
document["contexts"] = [{"name": "c", "context": {"cluster": "c", "user": "c"}}]
document["current-context"] = "c"
path.write_text(json.dumps(document))
(path.parent / "asked").write_text(" ".join(sys.argv[1:]))
sys.exit(int(os.environ.get("FAILS", "0")))
"""


def program(folder: Path, name: str, source: str) -> Path:
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{source}")
    path.chmod(0o755)
    return path


def profile(folder: Path, **env: str) -> Minikube:
    minikube = program(folder, "minikube", MINIKUBE)
    nowhere = Path("nowhere")
    toolchain = Toolchain("path", "", minikube, nowhere, nowhere, nowhere, folder, {}, "v1.37.2", None, None, False)
    settings = {"MINIKUBE_HOME": str(folder), "KUBECONFIG": str(folder / "kubeconfig"), "PATH": "/usr/bin:/bin", **env}
    return Minikube(
        toolchain,
        "c",
        settings,
        NodeContainers(lambda name: None, lambda *_: None),
        folder / "kubeconfig",
        folder / "note.json",
    )


def document(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "kubeconfig").read_text())
    return found


@pytest.mark.parametrize("before", ["mine", ""])
def test_the_context_is_written_and_the_current_one_stays(tmp_path: Path, before: str) -> None:
    (tmp_path / "kubeconfig").write_text(json.dumps({"current-context": before} if before else {}))
    profile(tmp_path).write_context()
    assert (tmp_path / "asked").read_text() == "--profile c update-context"
    assert document(tmp_path)["contexts"] == [{"name": "c", "context": {"cluster": "c", "user": "c"}}]
    assert document(tmp_path).get("current-context", "") == before


def test_a_current_context_that_is_the_profile_already_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(json.dumps({"current-context": "c"}))
    made = profile(tmp_path)
    made.write_context()
    assert document(tmp_path)["current-context"] == "c"


def test_a_minikube_that_cannot_answer_is_no_error_and_leaves_the_current_context(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(json.dumps({"current-context": "mine"}))
    profile(tmp_path, FAILS="1").write_context()
    assert document(tmp_path)["current-context"] == "mine"


@pytest.mark.parametrize("fails", ["0", "1"])
def test_the_kubelet_is_begun_anew_where_that_is_possible(tmp_path: Path, fails: str) -> None:
    profile(tmp_path, FAILS=fails).wake()
    assert (tmp_path / "asked").read_text() == "--profile c ssh -- sudo systemctl restart kubelet"


# As Minikube ends where it could not start: what was wrong, and after it a box that asks for a bug report.
FAILING = """
import json, sys
box = chr(0x256d) + chr(0x2500) + chr(0x256e) + " Please run `minikube logs`"
for message in ("Failed to start host: the disk is gone", box):
    print(json.dumps({"type": "io.k8s.sigs.minikube.error", "data": {"message": message, "exitcode": "80"}}))
sys.exit(80)
"""


def test_a_start_that_fails_says_what_was_wrong(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text("{}")
    made = profile(tmp_path)
    program(tmp_path, "minikube", FAILING)
    _, error = failed(made.start(StartRequest("c", "docker", 2, 4096, "20g", "v1.37.2")))
    assert error.problems[0].code == "CLUSTER_START"
    assert error.problems[0].detail == "Failed to start host: the disk is gone"
