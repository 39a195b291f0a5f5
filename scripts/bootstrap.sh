#!/bin/sh
# Makes .venv with todo-deploy and its development tools in it. Quick when nothing changed; may be killed at any time.
# It is a shell script because there may be no Python yet.
set -eu

cd "$(dirname "$0")/.."
stamp=.venv/.installed

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
  say "$1"
  say "next: $2"
  exit 3
}

# new_enough PROGRAM: it is Python 3.11 or newer and can make virtual environments.
new_enough() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null
}

find_python() {
  for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python; do
    if [ -n "$candidate" ] && command -v "$candidate" > /dev/null && new_enough "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
}

apt_install() {
  apt-get install -y --no-install-recommends python3 python3-venv
}

# On Debian and its relatives as root, what is missing is installed; elsewhere a message says how.
install_python() {
  if [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] && command -v apt-get > /dev/null; then
    say "installing Python with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    # The caller looks for Python again, and reports that it is missing.
    apt_install >&2 || { apt-get update >&2 && apt_install >&2; } || true
  fi
}

make_venv() {
  say "making .venv with $1"
  rm -rf .venv
  "$1" -m venv .venv 2> /dev/null
}

# The stamp holds what the environment was made from: the project, its lock and its place.
wanted=$(
  {
    cat pyproject.toml requirements-dev.lock scripts/bootstrap.sh
    pwd
  } | cksum
)
if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2> /dev/null)" = "$wanted" ] && new_enough .venv/bin/python; then
  exit 0
fi

# Always made anew: pip takes what is installed already without a look at its hashes, and leaves what is no longer locked.
python=$(find_python)
if [ -z "$python" ] || ! make_venv "$python"; then
  install_python
  python=$(find_python)
  [ -n "$python" ] || fail "Python 3.11 or newer was not found" "install it, or name it: make setup PYTHON=/path/to/python3"
  make_venv "$python" ||
    fail "$python cannot make virtual environments" "sudo apt-get install python3-venv"
fi

# Everything from the lock, checked by its hashes; the build backend is among it, so that nothing else is fetched.
say "installing todo-deploy and its dependencies (about a minute the first time)"
pip() { .venv/bin/python -m pip --disable-pip-version-check install --quiet --no-compile --no-deps "$@"; }
pip --require-hashes --only-binary :all: --requirement requirements-dev.lock ||
  fail "the dependencies could not be installed" \
    "check the network and the proxy settings; where a hash is missing or differs, see requirements-dev.lock"
pip --no-index --no-build-isolation --editable . ||
  fail "todo-deploy itself could not be installed" "rm -rf .venv && make setup"
# Bytecode only of what a run imports: most of the Kubernetes client's two thousand modules never are.
env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -c '
import importlib, pkgutil
import deployer, pytest
for module in pkgutil.walk_packages(deployer.__path__, "deployer."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
' || fail "todo-deploy was installed and cannot be loaded" "rm -rf .venv && make setup"
printf '%s\n' "$wanted" > "$stamp.part"
mv "$stamp.part" "$stamp"
say "done: .venv/bin/todo-deploy"
