#!/usr/bin/env bash
# All tests: the application's own, then units, charts, contracts and the end-to-end tests on a real Minikube cluster.
# Everything it makes outside the checkout is in the user's cache folder and makes the next run quick.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/.venv/bin
logs=${XDG_CACHE_HOME:-$HOME/.cache}/todo-deploy/app-tests

step() { printf '\n== %(%H:%M:%S)T %s\n' -1 "$*"; }

# beside NAME COMMAND…: begins the command; how it ended is printed when it has, with all its output if it failed.
beside() {
  local name=$1 log
  log=$logs/$name.log
  shift
  step "$name (beside what follows)"
  set -m # a process group of its own, which can be ended as a whole
  {
    if "$@" < /dev/null > "$log" 2>&1; then
      step "$name: $(tail -n 1 "$log")"
    else
      cat "$log"
      step "$name: FAILED"
      exit 1
    fi
  } &
  jobs+=("$!")
  set +m
}

mkdir -p "$logs"
jobs=()
trap 'for job in "${jobs[@]}"; do kill -- "-$job" 2> /dev/null || true; done' EXIT

# Tests on the cluster mostly wait for it: what needs no cluster runs beside them.
beside application scripts/test_application.sh

step "toolchain and the cluster of the tests"
"$bin/python" -m tests.cluster

beside units "$bin/python" -m pytest -q -p no:cacheprovider

step "contracts and end to end on the cluster"
status=0
"$bin/python" -m pytest --cluster -m cluster || status=$?
for job in "${jobs[@]}"; do
  wait "$job" || status=1
done
trap - EXIT
step "$([ "$status" = 0 ] && echo "all tests passed" || echo "FAILED: see above")"
exit "$status"
