"""Alembic's entry point: runs the migrations on the connection that `Database.migrate` hands over."""

from alembic import context

from todo_backend.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
