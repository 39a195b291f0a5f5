"""The way to the URLs that the document names: `minikube service --url`."""

from __future__ import annotations

import pytest

from tests.e2e.browser import request
from tests.e2e.project import Project


@pytest.mark.parametrize(("service", "url"), [("frontend-web-service", "web"), ("frontend-chatbot-service", "chatbot")])
def test_minikube_shows_the_same_address(app: Project, urls: dict[str, str], service: str, url: str) -> None:
    printed = app.minikube("service", service, "--namespace", "default", "--url").split()
    assert printed == [urls[url]]
    assert request("GET", f"{printed[0]}/health").status == 200
