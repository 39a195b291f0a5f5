"""Browsers at other origins may read the answers of the backend, or `up` says which may not; part of `make more`."""

from __future__ import annotations

from deployer.core.errors import ExitCode
from tests.e2e.project import Project, one_document, tell

ORIGINS = "releases.todo-app.values.backend.config.data.ALLOWED_ORIGINS"


def test_a_frontend_that_the_backend_does_not_allow_is_named_and_the_old_configuration_serves(
    app: Project, urls: dict[str, str]
) -> None:
    served = app.object("configmap", "backend-config")["data"]["ALLOWED_ORIGINS"]
    assert served.split(",") == ["http://localhost:3000", urls["web"], urls["chatbot"]]
    done = app.run(
        "up", "-o", "json", "--progress", "plain", "--hold", "0s", "--set",
        f'{ORIGINS}="http://localhost:3000,{urls["web"]}"',
    )  # fmt: skip
    assert done.returncode == ExitCode.PREVIOUS_SERVES, done.stderr[-4000:]
    (problem,) = [one for one in one_document(done.stdout)["errors"] if one["code"] == "CORS_REFUSED"]
    tell("an origin that is not allowed", problem["title"])
    assert urls["chatbot"] in problem["title"]
    assert f"Origin {urls['chatbot']}: HTTP 400, Access-Control-Allow-Origin: none" in problem["detail"]
    assert any(urls["chatbot"] in hint and ORIGINS in hint for hint in problem["hints"])
    assert app.object("configmap", "backend-config")["data"]["ALLOWED_ORIGINS"] == served
    again = app.run("up", "--progress", "plain", "--hold", "0s")
    assert again.returncode == 0, again.stderr[-4000:]
