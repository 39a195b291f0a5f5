from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deployer.core.errors import DeployError, ExitCode
from deployer.sources.load import prelude, read_certificates, with_prelude

PEM = "-----BEGIN CERTIFICATE-----\nMIIB+a/Z=\n-----END CERTIFICATE-----"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "ca.pem"
    path.write_text(text)
    return path


def test_certificates_are_taken_and_nothing_else_of_the_file(tmp_path: Path) -> None:
    key = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----"
    path = written(tmp_path, f"# our authority\n{PEM}\n{key}\n{PEM}\n")
    assert read_certificates(path, "ca.pem") == f"{PEM}\n{PEM}"


@pytest.mark.parametrize(
    ("text", "code"), [("", "CA_EMPTY"), ("no PEM", "CA_EMPTY"), ((PEM + "\n") * 700, "CA_TOO_LARGE")]
)
def test_a_file_that_is_not_a_companys_is_refused(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(DeployError) as caught:
        read_certificates(written(tmp_path, text), "ca.pem")
    assert (caught.value.problems[0].code, caught.value.exit_code) == (code, ExitCode.INPUT)


def test_a_file_that_is_not_there_is_named_with_the_setting(tmp_path: Path) -> None:
    with pytest.raises(DeployError) as caught:
        read_certificates(tmp_path / "absent.pem", "absent.pem")
    (problem,) = caught.value.problems
    assert problem.code == "CA_UNREADABLE"
    assert "TODO_DEPLOY_CA" in problem.hints[0]


def test_every_step_of_a_shell_begins_with_the_words_and_lines_keep_their_numbers() -> None:
    text = (
        "# RUN not this\nFROM a AS one\nRUN pip install x\nrun --network=host \\\n  npm ci \\\n  && true\n"
        'RUN ["pip", "install"]\nRUN <<EOF\nRUN inside\nEOF\nSHELL ["pwsh", "-c"]\nRUN Get-It\n'
        'SHELL ["/bin/bash", "-o", "pipefail", "-c"]\nRUN curl | sh\nFROM b\nRUN apk add y\nCMD RUN\n'
    )
    assert with_prelude(text, "W; ").splitlines() == [
        "# RUN not this", "FROM a AS one", "RUN W; pip install x", "run --network=host W; \\", "  npm ci \\",
        "  && true", 'RUN ["pip", "install"]', "RUN <<EOF", "RUN inside", "EOF", 'SHELL ["pwsh", "-c"]',
        "RUN Get-It", 'SHELL ["/bin/bash", "-o", "pipefail", "-c"]', "RUN W; curl | sh", "FROM b",
        "RUN W; apk add y", "CMD RUN",
    ]  # fmt: skip


def test_nothing_changes_without_ca_certificates() -> None:
    assert with_prelude("FROM a\nRUN b\n", "") == "FROM a\nRUN b\n"


def test_the_words_are_one_line_for_any_shell_and_name_a_file_with_the_ca_certificates() -> None:
    words = prelude(PEM)
    assert "\n" not in words
    script = words + 'cat "$SSL_CERT_FILE"; echo "$PIP_CERT $NODE_EXTRA_CA_CERTS"; cat "$APT_CONFIG"'
    done = subprocess.run(["sh", "-eu", "-c", script], capture_output=True, text=True, check=True)
    assert PEM in done.stdout
    assert "/dev/shm/" in done.stdout
    assert 'Acquire::https::CAInfo "/dev/shm/' in done.stdout
    for name in ("todo-deploy-ca.pem", "todo-deploy-apt.conf"):
        Path("/dev/shm", name).unlink()
