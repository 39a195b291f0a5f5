"""The process's settings, read once from the environment."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

MIN_SECRET_LENGTH = 32  # HS256 is as strong as its key: RFC 7518 asks for 256 bits.
# Where a cluster's pods are, the frontends among them.
PRIVATE_NETWORKS = ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
PLACEHOLDER_MARKS = ("...", "<", "your", "placeholder", "changeme", "change-me", "replace", "dummy", "xxx")


class SettingsError(ValueError):
    """A setting is missing or wrong. The message names the variable, never its value."""


@dataclass(frozen=True)
class Provider:
    """Where a language model is asked, and with which key."""

    name: Literal["openai", "cohere"]
    base_url: str
    model: str
    api_key: str = field(repr=False)


@dataclass(frozen=True)
class Settings:
    """Everything the environment decides. Secrets do not show in its repr."""

    database_url: URL = field(repr=False)
    auth_secret: str = field(repr=False)
    allowed_origins: tuple[str, ...] = ()
    log_level: str = "INFO"
    environment: Literal["development", "production"] = "development"
    host: str = "0.0.0.0"
    port: int = 8000
    token_ttl_seconds: int = 86_400
    drain_seconds: float = 3.0
    provider: Provider | None = None
    analytics: bool = False
    data_dir: Path | None = None
    trusted_proxies: tuple[str, ...] = PRIVATE_NETWORKS
    attempts_per_address: int = 60
    attempts_per_account: int = 10

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every string that must not appear in a log line, longest first."""
        password = self.database_url.password or ""
        found = {
            self.database_url.render_as_string(hide_password=False),
            password,
            quote(password, safe=""),
            self.auth_secret,
            self.provider.api_key if self.provider else "",
        }
        return tuple(sorted(filter(None, found), key=len, reverse=True))

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """The settings that `env` describes; SettingsError says which variable is wrong."""
        environment = env.get("ENVIRONMENT", "").strip().lower() or "development"
        if environment not in ("development", "production"):
            raise SettingsError("ENVIRONMENT must be development or production")
        secret = _required(env, "BETTER_AUTH_SECRET")
        if environment == "production" and len(secret) < MIN_SECRET_LENGTH:
            raise SettingsError(f"BETTER_AUTH_SECRET must have {MIN_SECRET_LENGTH} characters or more in production")
        return cls(
            database_url=database_url(_required(env, "DATABASE_URL")),
            auth_secret=secret,
            allowed_origins=_origins(env),
            log_level=_log_level(env.get("LOG_LEVEL", "")),
            environment="production" if environment == "production" else "development",
            host=env.get("BACKEND_HOST", "").strip() or cls.host,
            port=int(_number(env, "BACKEND_PORT", cls.port, 1, 65_535)),
            token_ttl_seconds=int(_number(env, "TOKEN_TTL_SECONDS", cls.token_ttl_seconds, 60, 31_536_000)),
            drain_seconds=_number(env, "DRAIN_SECONDS", cls.drain_seconds, 0, 60),
            provider=_provider(env),
            analytics=_flag(env, "ENABLE_ANALYTICS"),
            data_dir=Path(folder) if (folder := env.get("DATA_DIR", "").strip()) else None,
            trusted_proxies=_networks(env, "TRUSTED_PROXIES", cls.trusted_proxies),
            attempts_per_address=int(_number(env, "ATTEMPTS_PER_ADDRESS", cls.attempts_per_address, 1, 1_000_000)),
            attempts_per_account=int(_number(env, "ATTEMPTS_PER_ACCOUNT", cls.attempts_per_account, 1, 1_000_000)),
        )


def database_url(text: str) -> URL:
    """`text` as an SQLAlchemy URL; every spelling of PostgreSQL means psycopg 3."""
    try:
        url = make_url(text)
    except ArgumentError:
        # `from None`: the original message may quote the URL, and the URL holds the password.
        raise SettingsError("DATABASE_URL is not a database URL (postgresql://user:password@host:5432/name)") from None
    if url.drivername in ("postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg"):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite":
        return url
    raise SettingsError("DATABASE_URL must be a postgresql:// (or sqlite://) URL")


def is_placeholder(key: str) -> bool:
    """Whether `key` is empty or a template's stand-in rather than a real key."""
    lowered = key.strip().lower()
    return len(lowered) < 8 or any(mark in lowered for mark in PLACEHOLDER_MARKS)


def _required(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set")
    return value


def _number(env: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    text = env.get(name, "").strip()
    try:
        value = float(text) if text else float(default)
    except ValueError:
        raise SettingsError(f"{name} must be a number") from None
    if not low <= value <= high:
        raise SettingsError(f"{name} must be between {low:g} and {high:g}")
    return value


def _flag(env: Mapping[str, str], name: str) -> bool:
    text = env.get(name, "").strip().lower() or "false"
    if text not in ("true", "false"):
        raise SettingsError(f"{name} must be true or false")
    return text == "true"


def _log_level(text: str) -> str:
    level = text.strip().upper() or "INFO"
    if level not in logging.getLevelNamesMapping():
        raise SettingsError("LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL")
    return level


def _origins(env: Mapping[str, str]) -> tuple[str, ...]:
    """ALLOWED_ORIGINS and FRONTEND_URL as bare origins: what a browser sends has no path."""
    found: dict[str, None] = {}
    for name in ("ALLOWED_ORIGINS", "FRONTEND_URL"):
        for text in filter(None, (part.strip() for part in env.get(name, "").split(","))):
            parts = urlsplit(text)
            if text != "*" and not (parts.scheme and parts.netloc):
                raise SettingsError(f"{name} must hold origins such as http://localhost:3000")
            found["*" if text == "*" else f"{parts.scheme}://{parts.netloc}".lower()] = None
    return tuple(found)


def _networks(env: Mapping[str, str], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    """The comma-separated networks; `none` means that there are none."""
    text = env.get(name, "").strip()
    if text in ("", "none"):
        return () if text else default
    try:
        return tuple(str(ip_network(part.strip())) for part in text.split(","))
    except ValueError:
        raise SettingsError(f"{name} must hold networks such as 10.244.0.0/16, or none") from None


def _provider(env: Mapping[str, str]) -> Provider | None:
    """The first provider with a real key: OpenAI, then Cohere, then none."""
    openai, cohere = env.get("OPENAI_API_KEY", "").strip(), env.get("COHERE_API_KEY", "").strip()
    if not is_placeholder(openai):
        base = env.get("OPENAI_BASE_URL", "").strip() or "https://api.openai.com/v1"
        return Provider("openai", base.rstrip("/"), env.get("OPENAI_MODEL", "").strip() or "gpt-4o-mini", openai)
    if not is_placeholder(cohere):
        base = env.get("COHERE_BASE_URL", "").strip() or "https://api.cohere.com"
        return Provider("cohere", base.rstrip("/"), env.get("COHERE_MODEL", "").strip() or "command-a-03-2025", cohere)
    return None
