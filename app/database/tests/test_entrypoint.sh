#!/bin/sh
# Starts the database as its container does, on a scratch volume, and checks what entrypoint.sh promises.
# Needs the PostgreSQL programs on PATH. As root it goes on as the user "nobody", since PostgreSQL refuses root.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ "$(id -u)" -eq 0 ]; then
    copy=$(mktemp -d /tmp/database-test.XXXXXX)
    cp -r "$here/.." "$copy/database"
    chmod -R a+rX "$copy"
    status=0
    setpriv --reuid=nobody --regid=nogroup --clear-groups sh "$copy/database/tests/$(basename "$0")" || status=$?
    rm -rf "$copy"
    exit "$status"
fi

scratch=$(mktemp -d /tmp/database-test.XXXXXX)
server=
first=
trap 'kill -KILL "-$server" ${first:+"-$first"} 2>/dev/null || true; rm -rf "$scratch"' EXIT
export PGDATA="$scratch/volume/pgdata" PGPORT="${PGPORT:-54329}" PGHOST=127.0.0.1
export POSTGRES_USER=todo POSTGRES_DB='to"do'

# In a process group of its own, so that a kill reaches what it has started.
start() { POSTGRES_PASSWORD=$1 setsid sh "$here/../entrypoint.sh" > "$scratch/log" 2>&1 & server=$!; }
stop() { kill -INT "$server"; wait "$server" || true; }
query() { PGPASSWORD=$1 psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -tAc "$2" 2>&1; }
ready() {
    for _ in $(seq 100); do
        pg_isready -q -h /tmp && return
        sleep 0.1
    done
    cat "$scratch/log"
    exit 1
}
check() {
    if [ "$2" = "$3" ]; then echo "ok   $1"; else echo "FAIL $1: got '$2', not '$3'"; cat "$scratch/log"; exit 1; fi
}

start "it's a \"secret\""; ready
check "the owner logs in over TCP" "$(query "it's a \"secret\"" 'SELECT current_database()')" 'to"do'
check "passwords are scram-sha-256" "$(query "it's a \"secret\"" 'SHOW password_encryption')" scram-sha-256
case $(query wrong 'SELECT 1') in *"authentication failed"*) got=refused ;; *) got=accepted ;; esac
check "a wrong password is refused" "$got" refused
query "it's a \"secret\"" 'CREATE TABLE kept AS SELECT 42 AS answer' >/dev/null

first=$server
start ignored; sleep 0.5
check "a second server on the volume waits" "$(grep -c waiting "$scratch/log")" 1
kill -KILL "-$server"; wait "$server" 2>/dev/null || true
server=$first

kill -KILL "$(head -1 "$PGDATA/postmaster.pid")"; wait "$server" 2>/dev/null || true
start rotated; ready
check "data outlives a kill, and the password follows the setting" "$(query rotated 'SELECT answer FROM kept')" 42
check "no secret in the log" "$(grep -c rotated "$scratch/log" || true)" 0
stop

rm -rf "$scratch/volume"
start first
until [ -e "$PGDATA.new/base" ]; do sleep 0.02; done
kill -KILL "-$server"; wait "$server" 2>/dev/null || true
check "nothing half-made after a kill in the middle" "$([ -e "$PGDATA" ] && echo half || echo nothing)" nothing
start second; ready
check "the next start makes the cluster" "$(query second 'SELECT 1')" 1
stop
echo "all well"
