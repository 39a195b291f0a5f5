#!/bin/sh
# Starts PostgreSQL on $PGDATA, making the cluster first if there is none.
#
# Once it serves: the role POSTGRES_USER has the password POSTGRES_PASSWORD (also when that changed since the last
# start), the database POSTGRES_DB exists, and TCP clients authenticate with scram-sha-256.
#
# Writes to the volume that holds PGDATA and (the socket) to /tmp, nowhere else. PGDATA must be a folder inside the volume and not
# its mount point, because a new cluster is made beside it and renamed: a kill in the middle leaves nothing half-made.
set -eu
umask 077

: "${PGDATA:=/var/lib/postgresql/data/pgdata}"
: "${POSTGRES_USER:=postgres}"
: "${POSTGRES_DB:=$POSTGRES_USER}"
staging=$PGDATA.new

fail() {
    echo "database: $*" >&2
    exit 1
}

# single: runs the SQL of standard input, one statement a line, with no server and no network in between.
# The statements are never logged: one of them holds the password, which so is in no file and no argument list.
single() {
    output=$(postgres --single -D "$1" -c log_statement=none -c log_min_error_statement=panic \
        -c log_min_duration_statement=-1 -c exit_on_error=on postgres 2>&1 >/dev/null) || {
        echo "$output" >&2
        fail "PostgreSQL cannot be prepared"
    }
}

quoted() { printf '%s' "$1" | sed "s/$2/$2$2/g; 1s/^/$2/; \$s/\$/$2/"; }

make_cluster() {
    echo "database: making a new cluster in $PGDATA"
    rm -rf "$staging"
    initdb --pgdata="$staging" --username="$POSTGRES_USER" --auth=reject --encoding=UTF8 --locale=C.UTF-8 \
        --data-checksums >/dev/null
    printf '%s\n' 'local all all scram-sha-256' 'host all all all scram-sha-256' > "$staging/pg_hba.conf"
    if [ "$POSTGRES_DB" != postgres ]; then
        echo "CREATE DATABASE $(quoted "$POSTGRES_DB" '"');" | single "$staging"
    fi
    if [ -d "$PGDATA" ]; then
        rmdir "$PGDATA" || fail "$PGDATA holds files but no cluster; they are left alone"
    fi
    sync
    mv "$staging" "$PGDATA"
    sync
}

# At every start: the password may have been rotated, or rolled back, since the last one.
set_password() {
    printf 'ALTER ROLE %s PASSWORD %s;\n' "$(quoted "$POSTGRES_USER" '"')" "$(quoted "$POSTGRES_PASSWORD" "'")" |
        single "$PGDATA"
}

trap 'exit 143' INT TERM

[ -n "${POSTGRES_PASSWORD:-}" ] || fail "POSTGRES_PASSWORD is not set"
[ "$(printf '%s' "$POSTGRES_PASSWORD" | wc -l)" -eq 0 ] || fail "POSTGRES_PASSWORD must be one line"
mkdir -p "$(dirname "$PGDATA")"

# PostgreSQL's own guard against two servers on one cluster does not see across containers. This lock does, and it is
# held through the exec below until the server and all its children are gone.
if command -v flock >/dev/null; then
    exec 9> "$PGDATA.lock"
    flock -n 9 || { echo "database: waiting for another server on this volume to end"; flock 9; }
    # So no server is at work here, whatever one that was killed has left: it was process 1, and so are we.
    rm -f "$PGDATA/postmaster.pid"
fi

[ -s "$PGDATA/PG_VERSION" ] || make_cluster
set_password

# The server itself needs no password.
unset POSTGRES_PASSWORD
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
