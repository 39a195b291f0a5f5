"""Register, log in, and who am I."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from todo_backend.dependencies import AddressDep, DatabaseDep, LoginLimitsDep, PrincipalDep, SettingsDep
from todo_backend.models import User
from todo_backend.schemas import Credentials, LoginCredentials, Token, UserOut
from todo_backend.security import Principal, hash_password, issue_token, verify_password
from todo_backend.settings import Settings

router = APIRouter(prefix="/auth", tags=["auth"])


def _token(user: User, settings: Settings) -> Token:
    token = issue_token(Principal(user.id, user.email), settings.auth_secret, settings.token_ttl_seconds)
    return Token(access_token=token, expires_in=settings.token_ttl_seconds, user=UserOut.model_validate(user))


@router.post("/register", status_code=201)
def register(
    credentials: Credentials, database: DatabaseDep, settings: SettingsDep, limits: LoginLimitsDep, address: AddressDep
) -> Token:
    """A new account, logged in; 409 when the address is taken, 429 after too many attempts."""
    limits.check(address, credentials.email)
    hashed = hash_password(credentials.password)  # before the transaction: it takes a while
    try:
        with database.session() as session:
            user = User(email=credentials.email, hashed_password=hashed)
            session.add(user)
    except IntegrityError:
        raise HTTPException(409, "this e-mail address is already registered") from None
    limits.succeeded(credentials.email)
    return _token(user, settings)


@router.post("/login")
def login(
    credentials: LoginCredentials,
    database: DatabaseDep,
    settings: SettingsDep,
    limits: LoginLimitsDep,
    address: AddressDep,
) -> Token:
    """A fresh token; 401 that does not tell whether the address or the password was wrong, 429 after too many."""
    limits.check(address, credentials.email)
    with database.session() as session:
        user = session.scalar(select(User).where(User.email == credentials.email))
    if not verify_password(credentials.password, user.hashed_password if user else None) or user is None:
        raise HTTPException(401, "the e-mail address or the password is wrong")
    if not user.is_active:
        raise HTTPException(403, "this account is not active")
    limits.succeeded(credentials.email)
    return _token(user, settings)


@router.get("/me")
def me(principal: PrincipalDep, database: DatabaseDep) -> UserOut:
    """The user whom the token names."""
    with database.session() as session:
        return UserOut.model_validate(session.get_one(User, principal.id))
