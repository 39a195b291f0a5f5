from __future__ import annotations

import time
import uuid

import jwt
import pytest

from conftest import PASSWORD, SECRET, Account, Client, Serve, register
from todo_backend.database import Database
from todo_backend.models import User


def test_register_answers_a_token_and_the_user(client: Client) -> None:
    response = client.post("/auth/register", json={"email": "  Ann@Example.com ", "password": PASSWORD})
    assert response.status_code == 201
    body = response.json()
    assert body["token_type"] == "bearer" and body["expires_in"] == 86_400
    assert body["user"]["email"] == "ann@example.com" and body["user"]["is_active"] is True
    claims = jwt.decode(body["access_token"], SECRET, algorithms=["HS256"], issuer="todo-backend")
    assert claims["sub"] == body["user"]["id"] and claims["exp"] - claims["iat"] == 86_400


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_login_and_me_under_both_prefixes(client: Client, ann: Account, prefix: str) -> None:
    body = client.post(f"{prefix}/auth/login", json={"email": "ANN@example.com", "password": PASSWORD}).json()
    me = client.get(f"{prefix}/auth/me", headers={"Authorization": f"Bearer {body['access_token']}"})
    assert me.status_code == 200 and me.json() == body["user"]
    assert "hashed_password" not in me.text


def test_an_address_registers_once_whatever_its_case(client: Client, ann: Account) -> None:
    response = client.post("/auth/register", json={"email": "ANN@EXAMPLE.COM", "password": PASSWORD})
    assert (response.status_code, response.json()["detail"]) == (409, "this e-mail address is already registered")


def test_wrong_password_and_unknown_address_look_the_same(client: Client, ann: Account) -> None:
    wrong = client.post("/auth/login", json={"email": ann.email, "password": "not the password"})
    unknown = client.post("/auth/login", json={"email": "bob@example.com", "password": PASSWORD})
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json() == unknown.json()


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"email": "ann", "password": PASSWORD}, "email is not a valid e-mail address"),
        ({"email": "ann@example.com", "password": "short"}, "password must have at least 8 character(s)"),
        ({"email": "ann@example.com"}, "password is required"),
        ({"email": "ann@example.com", "password": PASSWORD, "admin": True}, "admin is not a known field"),
    ],
)
def test_bad_registrations_say_what_is_wrong_and_nothing_else(
    client: Client, body: dict[str, object], detail: str
) -> None:
    response = client.post("/auth/register", json=body)
    assert (response.status_code, response.json()["detail"]) == (422, detail)
    assert "short" not in response.text and PASSWORD not in response.text


def _token(secret: str = SECRET, **claims: object) -> str:
    base = {"sub": str(uuid.uuid4()), "iss": "todo-backend", "exp": int(time.time()) + 60}
    return jwt.encode(base | claims, secret, algorithm="HS256")


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        _token(),  # a user that does not exist
        _token(secret="x" * 43),
        _token(exp=int(time.time()) - 1),
        _token(sub="not a uuid"),
        _token(iss="someone else"),
        jwt.encode({"sub": str(uuid.uuid4())}, "", algorithm="none"),
    ],
)
def test_bad_tokens_are_refused(client: Client, token: str) -> None:
    response = client.get("/tasks", headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer"


def test_an_inactive_account_is_out(serve: Serve) -> None:
    client = serve()
    ann = register(client)
    database: Database = client.app.state.database
    with database.session() as session:
        session.query(User).update({"is_active": False})
    assert ann.request("GET", "/tasks").status_code == 401
    assert client.post("/auth/login", json={"email": ann.email, "password": PASSWORD}).status_code == 403


def test_the_session_cookie_works_but_not_from_a_foreign_origin(client: Client, ann: Account) -> None:
    client.cookies.set("todo_session", ann.token)
    new = {"title": "by cookie"}
    assert client.get("/api/tasks", headers={"Origin": "http://evil.example"}).status_code == 200
    assert client.post("/api/tasks", json=new, headers={"Origin": "http://evil.example"}).status_code == 403
    assert client.post("/api/tasks", json=new, headers={"Origin": str(client.base_url).rstrip("/")}).status_code == 201
    assert client.post("/api/tasks", json=new).status_code == 201
