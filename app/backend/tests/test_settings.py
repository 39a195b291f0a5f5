from __future__ import annotations

import pytest

from conftest import SECRET, Client, Serve
from todo_backend.settings import Settings, SettingsError

ENV = {"DATABASE_URL": "postgresql://todo:p%40ss@db:5432/todo?sslmode=require", "BETTER_AUTH_SECRET": SECRET}


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_spelling_of_postgresql_means_psycopg(scheme: str) -> None:
    url = Settings.from_env(ENV | {"DATABASE_URL": f"{scheme}://todo:pw@db/todo?sslmode=require"}).database_url
    assert url.drivername == "postgresql+psycopg" and url.query == {"sslmode": "require"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"BETTER_AUTH_SECRET": " "}, "BETTER_AUTH_SECRET is not set"),
        ({"DATABASE_URL": ""}, "DATABASE_URL is not set"),
        ({"DATABASE_URL": "pw-canary"}, "DATABASE_URL is not a database URL"),
        ({"DATABASE_URL": "mysql://u:pw-canary@h/d"}, "DATABASE_URL must be a postgresql://"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL must be one of"),
        ({"ENVIRONMENT": "staging"}, "ENVIRONMENT must be"),
        ({"BACKEND_PORT": "http"}, "BACKEND_PORT must be a number"),
        ({"ENABLE_ANALYTICS": "yes"}, "ENABLE_ANALYTICS must be true or false"),
        ({"BACKEND_PORT": "70000"}, "BACKEND_PORT must be between"),
        ({"TRUSTED_PROXIES": "10.0.0.0/8, frontend"}, "TRUSTED_PROXIES must hold networks"),
        ({"ATTEMPTS_PER_ADDRESS": "0"}, "ATTEMPTS_PER_ADDRESS must be between"),
        ({"ALLOWED_ORIGINS": "localhost"}, "ALLOWED_ORIGINS must hold origins"),
        ({"ENVIRONMENT": "production", "BETTER_AUTH_SECRET": "pw-canary"}, "BETTER_AUTH_SECRET must have 32"),
    ],
)
def test_wrong_settings_are_named_but_not_quoted(change: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message.replace("(", r"\(")) as caught:
        Settings.from_env(ENV | change)
    assert "pw-canary" not in str(caught.value)


def test_empty_means_default_and_case_does_not_matter() -> None:
    settings = Settings.from_env(ENV | {"LOG_LEVEL": "debug", "BACKEND_PORT": "", "ENVIRONMENT": "Production"})
    assert (settings.log_level, settings.port, settings.host) == ("DEBUG", 8000, "0.0.0.0")
    assert settings.environment == "production"


def test_trusted_proxies_are_the_private_networks_unless_set() -> None:
    assert "10.0.0.0/8" in Settings.from_env(ENV).trusted_proxies
    assert Settings.from_env(ENV | {"TRUSTED_PROXIES": "none"}).trusted_proxies == ()
    assert Settings.from_env(ENV | {"TRUSTED_PROXIES": "10.244.0.0/16, ::1"}).trusted_proxies == (
        "10.244.0.0/16",
        "::1/128",
    )


def test_origins_are_bare_and_include_the_frontend() -> None:
    settings = Settings.from_env(
        ENV | {"ALLOWED_ORIGINS": "http://a:3000/, https://B", "FRONTEND_URL": "http://c:3001/todo"}
    )
    assert settings.allowed_origins == ("http://a:3000", "https://b", "http://c:3001")


def test_the_repr_shows_no_secret() -> None:
    text = repr(Settings.from_env(ENV | {"OPENAI_API_KEY": "sk-canary-123456"}))
    assert SECRET not in text and "p@ss" not in text and "p%40ss" not in text and "sk-canary" not in text


def _allowed(client: Client, origin: str) -> str | None:
    response = client.options("/tasks", headers={"Origin": origin, "Access-Control-Request-Method": "PATCH"})
    allowed: str | None = response.headers.get("access-control-allow-origin")
    return allowed


def test_cors_allows_the_named_origins_only(serve: Serve) -> None:
    client = serve(ALLOWED_ORIGINS="http://localhost:3000", FRONTEND_URL="http://localhost:3001")
    assert _allowed(client, "http://localhost:3000") == "http://localhost:3000"
    assert _allowed(client, "http://localhost:3001") == "http://localhost:3001"
    assert _allowed(client, "http://localhost:3002") is None


def test_cors_for_everyone_is_without_credentials(serve: Serve) -> None:
    response = serve(ALLOWED_ORIGINS="*").get("/health", headers={"Origin": "http://x"})
    assert response.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in response.headers


def test_production_hides_the_documentation(serve: Serve) -> None:
    assert serve().get("/docs").status_code == 200
    production = serve(ENVIRONMENT="production")
    assert {production.get(p).status_code for p in ("/docs", "/redoc", "/openapi.json")} == {404}
