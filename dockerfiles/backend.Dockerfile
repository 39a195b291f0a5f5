# The Todo Chatbot's backend. Context: app/backend.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS dependencies
COPY requirements.lock .
# Bytecode is made here: the root file system is read-only later, and compiling at every start would cost seconds of a
# small container's CPU. "unchecked" because nothing in an image changes behind its back.
# The cache of pip stays with the builder, and what a changed lock has in common with it is not fetched again.
RUN --mount=type=cache,target=/root/.cache/pip python -m venv /opt/venv \
 && /opt/venv/bin/python -m pip install --no-compile --disable-pip-version-check --require-hashes -r requirements.lock \
 && /opt/venv/bin/python -m pip uninstall --yes --quiet --disable-pip-version-check pip setuptools \
 && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib

FROM ${PYTHON_IMAGE} AS base
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /app
EXPOSE 8000
COPY --from=dependencies /opt/venv /opt/venv
USER 1000

# For development (profile `dev` of the spec): its user may write to the sources, and they are reloaded.
FROM base AS dev
ENTRYPOINT ["python", "-m", "todo_backend.reload"]
COPY --chown=1000:1000 todo_backend todo_backend

FROM base
ENTRYPOINT ["python", "-m", "todo_backend"]
# Only what follows is built again after a change of the source. It is not compiled here: that saves 10 ms of a start
# and costs half a second of every build.
COPY todo_backend todo_backend
ARG VERSION=1.0.0
LABEL org.opencontainers.image.title="todo-backend" \
      org.opencontainers.image.description="Todo Chatbot: REST API, chat and MCP server" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
