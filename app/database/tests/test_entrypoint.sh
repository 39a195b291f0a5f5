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
export PGDATA="$scratch/volume/pgdata" PGPORT="${PGPORT:-$((20000 + $$ % 10000))}" PGHOST=127.0.0.1
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
check "the owner is no superuser" "$(query "it's a \"secret\"" 'SHOW is_superuser')" off
case $(query "it's a \"secret\"" "SELECT pg_read_file('/etc/passwd')") in *"permission denied"*) got=refused ;; *) got=granted ;; esac
check "the owner reads no files of the server" "$got" refused
case $(PGUSER=administrator PGPASSWORD="it's a \"secret\"" psql -d postgres -tAc 'SELECT 1' 2>&1) in
    *"authentication failed"*) got=refused ;; *) got=accepted ;; esac
check "nobody logs in as the superuser" "$got" refused

first=$server
start ignored
for _ in $(seq 100); do grep -q waiting "$scratch/log" && break; sleep 0.1; done
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
until [ -e "$PGDATA.new/base" ] || [ -e "$PGDATA/base" ] || ! kill -0 "$server"; do sleep 0.02; done
kill -KILL "-$server"; wait "$server" 2>/dev/null || true
check "nothing half-made after a kill in the middle" "$([ -e "$PGDATA" ] && echo half || echo nothing)" nothing
start second; ready
check "the next start makes the cluster" "$(query second 'SELECT 1')" 1
stop
rm -rf "$scratch/volume"
mkdir "$scratch/volume"
# As earlier versions made a cluster, with one object of each kind that an application makes.
initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --auth=reject --encoding=UTF8 --locale=C.UTF-8 >/dev/null
printf '%s\n' 'local all all scram-sha-256' 'host all all all scram-sha-256' > "$PGDATA/pg_hba.conf"
old() { postgres --single -D "$PGDATA" -c exit_on_error=on "$1" >/dev/null; }
printf '%s\n' "ALTER ROLE todo PASSWORD 'kept'" 'CREATE DATABASE "to""do"' | old postgres
setsid postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp > "$scratch/log" 2>&1 & server=$!
ready
PGPASSWORD=kept psql -q -U "$POSTGRES_USER" -d "$POSTGRES_DB" -v ON_ERROR_STOP=1 << 'SQL'
CREATE SCHEMA more;
CREATE TYPE state AS ENUM ('open', 'done');
CREATE TABLE more.task (id serial PRIMARY KEY, number int GENERATED ALWAYS AS IDENTITY, state state);
INSERT INTO more.task (state) VALUES ('open'), ('done');
CREATE SEQUENCE alone;
CREATE VIEW more.tasks AS SELECT * FROM more.task;
CREATE FUNCTION one(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
SQL
stop
for attempt in first second; do
    start kept; ready
    check "$attempt start on an old volume: the role is no superuser" "$(query kept 'SHOW is_superuser')" off
    check "$attempt start: the data is there" "$(query kept 'SELECT count(*) FROM more.tasks')" 2
    stop
done
start kept; ready
# shellcheck disable=SC2016 # dollar quotes of SQL
changes='ALTER TABLE more.task ADD note text; ALTER TYPE state ADD VALUE $$late$$; ALTER SEQUENCE alone RESTART;
    DROP VIEW more.tasks; DROP FUNCTION one(int); CREATE TABLE fresh (id int)'
check "the owner changes and makes everything" "$(query kept "$changes" | tail -1)" "CREATE TABLE"
check "nothing is the superuser's" "$(query kept "SELECT count(*) FROM pg_class WHERE relowner = 10 AND oid >= 16384")" 0
stop
printf '%s\n' "ALTER ROLE todo PASSWORD 'older'" | old postgres
check "an earlier version's start works on it too" "$?" 0
echo "all well"
