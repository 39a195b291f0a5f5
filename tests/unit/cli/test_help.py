"""`todo-deploy help`."""

from __future__ import annotations

import json

import pytest

from deployer.cli.entry import main


def ran(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["help", *words])
    shown = capsys.readouterr()
    return int(str(ended.value.code)), shown.out, shown.err


def test_a_code_is_explained_in_any_case(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ran(capsys, "crash_loop")
    assert code == 0 and out.startswith("CRASH_LOOP\n") and "What to do:" in out


def test_without_a_subject_every_code_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ran(capsys)
    assert code == 0 and len(out.splitlines()) > 250 and all(": " in line for line in out.splitlines())


def test_the_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ran(capsys, "up")
    assert code == 0 and "--recreate-cluster" in out


def test_reasons_of_the_api_server_share_an_entry(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ran(capsys, "API_FORBIDDEN")
    assert code == 0 and out.startswith("API_FORBIDDEN\n")


def test_an_unknown_subject_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = ran(capsys, "CRASHLOOP")
    assert code == 2 and "CODE_UNKNOWN" in err and "CRASH_LOOP" in err


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ran(capsys, "LOCKED", "-o", "json")
    assert code == 0 and list(json.loads(out)["data"]["codes"]) == ["LOCKED"]
