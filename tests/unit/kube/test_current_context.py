"""The user's current context survives what Minikube does to it, and a kill in the middle of that."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deployer.kube.kubeconfig import (
    choose_context,
    current_context,
    current_context_kept,
    read,
    restore_current_context,
)

YAML = """\
apiVersion: v1
kind: Config
# somebody's own words
contexts:
- context: {cluster: c, user: c}
  name: c
current-context: mine
users: []
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(YAML)
    return path


@pytest.fixture
def note(tmp_path: Path) -> Path:
    return tmp_path / "state" / "note.json"


def test_what_minikube_made_current_is_put_back_and_nothing_else_is_touched(config: Path, note: Path) -> None:
    with current_context_kept(config, note, "c"):
        choose_context(config, "c")
        assert current_context(config) == "c"
        assert note.exists()
    assert config.read_text() == YAML.replace("current-context: mine", 'current-context: "mine"')
    assert not note.exists()
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


KILLED = """
import os, signal, sys
from pathlib import Path
from deployer.kube.kubeconfig import choose_context, current_context_kept
config, note = map(Path, sys.argv[1:])
with current_context_kept(config, note, "c"):
    choose_context(config, "c")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(config: Path, note: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(config), str(note)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert current_context(config) == "c"


def test_after_a_kill_the_next_run_puts_it_back_once(config: Path, note: Path) -> None:
    killed(config, note)
    assert restore_current_context(config, note, "c") is True
    assert current_context(config) == "mine"
    assert restore_current_context(config, note, "c") is False


def test_after_a_kill_a_second_start_knows_what_it_was(config: Path, note: Path) -> None:
    killed(config, note)
    with current_context_kept(config, note, "c"):
        choose_context(config, "c")
    assert current_context(config) == "mine"


def test_a_choice_that_was_made_since_the_kill_stays(config: Path, note: Path) -> None:
    killed(config, note)
    choose_context(config, "another")
    assert restore_current_context(config, note, "c") is False
    assert current_context(config) == "another"


def test_a_note_about_another_kubeconfig_changes_nothing(config: Path, note: Path, tmp_path: Path) -> None:
    killed(config, note)
    other = tmp_path / "other"
    other.write_text(YAML.replace("mine", "c"))
    assert restore_current_context(other, note, "c") is False
    assert current_context(other) == "c"


def test_a_note_that_was_cut_short_changes_nothing(config: Path, note: Path) -> None:
    note.parent.mkdir()
    note.write_text('{"kubeconfig": "')
    assert restore_current_context(config, note, "c") is False


@pytest.mark.parametrize("text", ["{}", json.dumps({"current-context": "c", "kind": "Config"}), "kind: Config\n"])
def test_any_form_of_the_file_can_be_changed(config: Path, text: str) -> None:
    config.write_text(text)
    choose_context(config, "it's: mine")
    assert current_context(config) == "it's: mine"
    assert read(config).get("kind") == ("Config" if "Config" in text else None)


def test_a_kubeconfig_that_is_a_link_stays_one(config: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(config)
    choose_context(link, "c")
    assert link.is_symlink()
    assert current_context(config) == "c"
