"""What the routes ask for by type: settings, the database, and who is asking."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request

from todo_backend.attempts import LoginLimits
from todo_backend.database import Database
from todo_backend.lifecycle import Lifecycle
from todo_backend.models import User
from todo_backend.security import SESSION_COOKIE, InvalidToken, Principal, read_token
from todo_backend.settings import Settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def get_settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def get_lifecycle(request: Request) -> Lifecycle:
    lifecycle: Lifecycle = request.app.state.lifecycle
    return lifecycle


def get_database(request: Request) -> Database:
    """The database, once its schema is there; 503 until then."""
    if not get_lifecycle(request).migrated:
        raise HTTPException(503, "the application is still starting", {"Retry-After": "2"})
    database: Database = request.app.state.database
    return database


def get_login_limits(request: Request) -> LoginLimits:
    limits: LoginLimits = request.app.state.login_limits
    return limits


def get_address(request: Request) -> str:
    """The client's address: the server has put in what a trusted proxy reported (TRUSTED_PROXIES)."""
    return request.client.host if request.client else ""


def get_principal(request: Request) -> Principal:
    """The active user whose token came as a bearer token or in the frontends' session cookie; 401 otherwise.

    The cookie is for an ingress that sends /api straight here instead of through a frontend's server.
    """
    settings, database = get_settings(request), get_database(request)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = request.cookies.get(SESSION_COOKIE, "")
        if token and not _same_origin(request, settings):
            raise HTTPException(403, "this origin may not act for the user")
    try:
        claimed = read_token(token.strip(), settings.auth_secret)
    except InvalidToken:
        raise _unauthorized("log in first: the token is missing, invalid or expired") from None
    # A short transaction of its own: chat talks to a slow provider afterwards and must hold no connection.
    with database.session() as session:
        user = session.get(User, claimed.id)
        if user is None or not user.is_active:
            raise _unauthorized("this account does not exist or is not active")
        return Principal(user.id, user.email)


def _same_origin(request: Request, settings: Settings) -> bool:
    """Whether a cookie may speak for the user: browsers name the origin on every request that changes something."""
    origin = request.headers.get("origin")
    if request.method in SAFE_METHODS or origin is None:
        return True
    return urlsplit(origin).netloc == request.headers.get("host") or origin.lower() in settings.allowed_origins


def _unauthorized(detail: str) -> HTTPException:
    return HTTPException(401, detail, {"WWW-Authenticate": "Bearer"})


SettingsDep = Annotated[Settings, Depends(get_settings)]
LifecycleDep = Annotated[Lifecycle, Depends(get_lifecycle)]
LoginLimitsDep = Annotated[LoginLimits, Depends(get_login_limits)]
AddressDep = Annotated[str, Depends(get_address)]
DatabaseDep = Annotated[Database, Depends(get_database)]
PrincipalDep = Annotated[Principal, Depends(get_principal)]
