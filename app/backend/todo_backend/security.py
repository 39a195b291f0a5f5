"""Passwords and tokens."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cache
from time import time

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

ALGORITHM = "HS256"
ISSUER = "todo-backend"
SESSION_COOKIE = "todo_session"

# OWASP's smallest argon2id setting: some 30 ms on a whole core, so a half-core container still logs in briskly.
_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


class InvalidToken(Exception):
    """The token is not ours, was changed, or is over."""


@dataclass(frozen=True)
class Principal:
    """Who is asking. `email` is for display only."""

    id: uuid.UUID
    email: str


def hash_password(password: str) -> str:
    return _hasher.hash(password)


def verify_password(password: str, hashed: str | None) -> bool:
    """Whether `password` fits `hashed`. None (no such user) takes as long as a wrong password."""
    try:
        return _hasher.verify(hashed or _nobody(), password) and hashed is not None
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobody() -> str:
    return _hasher.hash("nobody has this password")


def issue_token(principal: Principal, secret: str, ttl_seconds: int) -> str:
    """A signed token that `read_token` accepts for `ttl_seconds` from now."""
    now = int(time())
    claims = {"sub": str(principal.id), "email": principal.email, "iss": ISSUER, "iat": now, "exp": now + ttl_seconds}
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def read_token(token: str, secret: str) -> Principal:
    """The principal that a genuine, unexpired token names; InvalidToken for any other."""
    try:
        claims = jwt.decode(
            token, secret, algorithms=[ALGORITHM], issuer=ISSUER, options={"require": ["exp", "sub", "iss"]}
        )
        return Principal(uuid.UUID(claims["sub"]), str(claims.get("email", "")))
    except (jwt.InvalidTokenError, ValueError) as error:
        raise InvalidToken from error
