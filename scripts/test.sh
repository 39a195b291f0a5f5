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
  log=$logs/${name%%[, ]*}.log
  shift
  step "$name (beside what follows)"
  set -m # a process group of its own, which can be ended as a whole
  {
    if "$@" < /dev/null > "$log" 2>&1; then
      step "$name: $(grep -E '[0-9]+ passed' "$log" | paste -s -d ';')"
    else
      cat "$log"
      step "$name: FAILED"
      exit 1
    fi
  } &
  jobs+=("$!")
  set +m
}

# Contracts and cases keep to namespaces of their own, and begin once the units leave them the processors.
# The one test that stops the cluster waits for this lock (tests/cluster.py).
# shellcheck disable=SC2329 # `beside` calls it
units_and_contracts() {
  "$bin/python" -m pytest -q -p no:cacheprovider -o faulthandler_timeout=300 &&
    flock --shared "$logs/cluster.lock" \
      "$bin/python" -m pytest -q -p no:cacheprovider --cluster -m cluster tests/contract tests/parity
}

mkdir -p "$logs"
jobs=()
trap 'for job in "${jobs[@]}"; do kill -- "-$job" 2> /dev/null || true; done' EXIT

# Tests on the cluster mostly wait for it: what needs no cluster runs beside them.
beside application scripts/test_application.sh

step "toolchain and the cluster of the tests"
"$bin/python" -m tests.cluster

beside "units, then contracts on the cluster" units_and_contracts

step "end to end on the cluster"
status=0
"$bin/python" -m pytest --cluster -m cluster --ignore tests/contract --ignore tests/parity || status=$?
# A job that hangs is ended, and says where it is: none takes half as long as all that was before.
for ((waited = 0; waited < 1800; waited += 5)); do
  [ -n "$(jobs -pr)" ] || break
  ((waited % 60)) || step "still at work: $(tail -qn 1 "$logs"/{application,units}.log | paste -s -d ';')"
  sleep 5
done
for job in $(jobs -pr); do
  step "FAILED: still at work after half an hour"
  kill -ABRT -- "-$job" # pytest shows where its threads are
  sleep 2
  tail -n 80 "$logs"/{application,units}.log
done
for job in "${jobs[@]}"; do
  wait "$job" || status=1
done
trap - EXIT
step "$([ "$status" = 0 ] && echo "all tests passed" || echo "FAILED: see above")"
exit "$status"
