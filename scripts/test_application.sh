#!/usr/bin/env bash
# The application's own tests, outside of any cluster.
# Everything it makes outside the checkout is in the user's cache folder and makes the next run quick.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
bin=$root/.venv/bin
cache=${XDG_CACHE_HOME:-$HOME/.cache}/todo-deploy/app-tests
not_tested=

step() { printf '\n== %(%H:%M:%S)T %s\n' -1 "$*"; }

# Runs a command; its output is shown when it fails, and every half minute a line says that it is still at work.
quietly() {
  local log beat status=0
  log=$(mktemp)
  while sleep 30; do printf '   %(%H:%M:%S)T still at it: %s\n' -1 "$*"; done &
  beat=$!
  "$@" > "$log" 2>&1 || status=$?
  kill "$beat" 2> /dev/null || true
  wait "$beat" 2> /dev/null || true
  if [ "$status" != 0 ]; then cat "$log"; else tail -n "${lines:-1}" "$log"; fi
  rm -f "$log"
  return "$status"
}

# stamped STAMP COMMAND…: the command is run unless the stamp says that it has been, with the very same words.
stamped() {
  local stamp=$1 wanted=$2
  shift 2
  if [ "$(cat "$stamp" 2> /dev/null)" != "$wanted" ]; then
    rm -f "$stamp"
    quietly "$@"
    printf '%s\n' "$wanted" > "$stamp"
  fi
}

make_backend_venv() {
  local pip=("$1/bin/python" -m pip install --quiet --disable-pip-version-check)
  rm -rf "$1" && "$bin/python" -m venv "$1" &&
    "${pip[@]}" --require-hashes -r app/backend/requirements.lock && "${pip[@]}" 'pytest>=9'
}

backend_tests() {
  local venv=$cache/backend-venv wanted
  wanted=$("$bin/python" --version && cksum < app/backend/requirements.lock)
  stamped "$venv.stamp" "$wanted" make_backend_venv "$venv"
  (cd app/backend && PYTHONDONTWRITEBYTECODE=1 quietly "$venv/bin/python" -m pytest -q -p no:cacheprovider \
    -o faulthandler_timeout=120 -o faulthandler_exit_on_timeout=true)
}

# In a copy, so that neither dependencies nor builds appear in the sources.
frontend_tests() {
  local copy=$cache/$1
  mkdir -p "$copy"
  find "$copy" -mindepth 1 -maxdepth 1 ! -name node_modules -exec rm -rf {} +
  git ls-files -co --exclude-standard -z "app/$1" |
    while IFS= read -r -d '' file; do
      if [ -f "$file" ]; then
        mkdir -p "$copy/$(dirname "${file#app/"$1"/}")"
        cp -p "$file" "$copy/${file#app/"$1"/}"
      fi
    done
  cd "$copy"
  stamped "$copy.stamp" "$(node --version && cksum < package-lock.json)" \
    timeout --kill-after=10 900 npm ci --no-audit --no-fund --loglevel=error
  lines=8 quietly timeout --kill-after=10 600 npm test --silent # a process that is left would keep it from its end
  cd "$root"
}

mkdir -p "$cache"

step backend
backend_tests

if command -v npm > /dev/null; then
  for frontend in frontend-chatbot frontend-web; do
    step "$frontend"
    frontend_tests "$frontend"
  done
elif [ "${CI:-}" = true ]; then
  echo "there is no npm on PATH, and the frontends' tests need it"
  exit 1
else
  not_tested="; NOT TESTED here: the frontends, because there is no npm on PATH"
fi

if command -v initdb > /dev/null && command -v pg_ctl > /dev/null; then
  step database
  quietly timeout --kill-after=10 600 sh app/database/tests/test_entrypoint.sh
else
  not_tested+="; the database's entrypoint is tested on the cluster only: there is no PostgreSQL on PATH"
fi

echo "all well$not_tested"
