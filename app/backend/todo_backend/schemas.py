"""What goes over the wire. Unknown fields are refused, so a misspelt one is an error and not a silent no-op."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints, model_validator

from todo_backend.models import DESCRIPTION_MAX, EMAIL_MAX, TITLE_MAX


def _without_nul(text: str) -> str:
    if "\x00" in text:  # PostgreSQL cannot store it
        raise ValueError("must not contain NUL characters")
    return text


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


Email = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, to_lower=True, max_length=EMAIL_MAX, pattern=r"^[^@\s\x00]+@[^@\s\x00]+\.[^@\s.\x00]+$"
    ),
]
Password = Annotated[str, StringConstraints(min_length=8, max_length=128)]
Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=TITLE_MAX),
    AfterValidator(_without_nul),
]
Description = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=DESCRIPTION_MAX), AfterValidator(_without_nul)
]
OptionalDescription = Annotated[Description | None, BeforeValidator(_blank_is_none)]
Message = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
Engine = Literal["grammar", "openai", "cohere"]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Credentials(_In):
    email: Email
    password: Password


class LoginCredentials(_In):
    """Only what a lookup needs: the rules for new passwords must not lock old accounts out."""

    email: Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, min_length=1, max_length=EMAIL_MAX)]
    password: Annotated[str, StringConstraints(min_length=1, max_length=128)]


class UserOut(_Out):
    id: uuid.UUID
    email: str
    is_active: bool
    created_at: datetime
    updated_at: datetime


class Token(_Out):
    access_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: int
    user: UserOut


class TaskIn(_In):
    title: Title
    description: OptionalDescription = None
    completed: bool = False


class TaskPatch(_In):
    """The fields to change; those left out stay as they are."""

    title: Title | None = None
    description: OptionalDescription = None
    completed: bool | None = None

    @model_validator(mode="after")
    def _says_something(self) -> TaskPatch:
        if not self.model_fields_set:
            raise ValueError("give at least one of title, description, completed")
        for name in ("title", "completed"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} must not be null")
        return self


class TaskOut(_Out):
    id: uuid.UUID
    title: str
    description: str | None
    completed: bool
    created_at: datetime
    updated_at: datetime
    user_id: uuid.UUID


class ChatIn(_In):
    message: Message


class ChatOut(_Out):
    reply: str
    tasks: list[TaskOut]
    engine: Engine
