#!/bin/sh
# Starts PostgreSQL on $PGDATA, making the cluster first if there is none.
#
# Once it serves: the role POSTGRES_USER has the password POSTGRES_PASSWORD (also when that changed since the last
# start), the database POSTGRES_DB exists and is that role's, and TCP clients authenticate with scram-sha-256. The role
# is no superuser. The superuser is "administrator", which has no password and so cannot log in; a cluster whose
# superuser is POSTGRES_USER, as earlier versions made them, is changed at its first start, data untouched.
#
# Writes to the volume that holds PGDATA and (the socket) to /tmp, nowhere else. PGDATA must be a folder inside the volume and not
# its mount point, because a new cluster is made beside it and renamed: a kill in the middle leaves nothing half-made.
set -eu
umask 077

: "${PGDATA:=/var/lib/postgresql/data/pgdata}"
: "${POSTGRES_USER:=postgres}"
: "${POSTGRES_DB:=$POSTGRES_USER}"
staging=$PGDATA.new
superuser=administrator

fail() {
    echo "database: $*" >&2
    exit 1
}

# single: runs the SQL of standard input in a database, each statement ended by a semicolon and an empty line, with no
# server and no network in between. The statements are never logged: one of them holds the password, which so is in no
# file and no argument list.
single() {
    output=$(postgres --single -j -D "$1" -c log_statement=none -c log_min_error_statement=panic \
        -c log_min_duration_statement=-1 -c exit_on_error=on "$2" 2>&1 >/dev/null) || {
        echo "$output" >&2
        fail "PostgreSQL cannot be prepared"
    }
}

quoted() { printf '%s' "$1" | sed "s/$2/$2$2/g; 1s/^/$2/; \$s/\$/$2/"; }

make_cluster() {
    echo "database: making a new cluster in $PGDATA"
    rm -rf "$staging"
    initdb --pgdata="$staging" --username="$superuser" --auth=reject --encoding=UTF8 --locale=C.UTF-8 \
        --data-checksums >/dev/null
    printf '%s\n' 'local all all scram-sha-256' 'host all all all scram-sha-256' > "$staging/pg_hba.conf"
    if [ "$POSTGRES_DB" != postgres ]; then
        printf 'CREATE DATABASE %s;\n\n' "$(quoted "$POSTGRES_DB" '"')" | single "$staging" postgres
    fi
    if [ -d "$PGDATA" ]; then
        rmdir "$PGDATA" || fail "$PGDATA holds files but no cluster; they are left alone"
    fi
    sync
    mv "$staging" "$PGDATA"
    sync
}

# At every start: a cluster may have been made by an earlier version, and the password may have been
# rotated, or rolled back, since the last one.
#
# Role 10 is the superuser that initdb made. It cannot lose that, nor give everything it owns to another role at once,
# so the name goes to a new role, and what is in the application's database follows it object by object: all in one
# transaction, the DO.
set_role() {
    role=$(quoted "$POSTGRES_USER" "'")
    single "$PGDATA" "$POSTGRES_DB" << SQL
DO \$set_role\$
DECLARE
    change text;
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE oid = 10 AND rolname = $role) THEN
        CREATE ROLE renaming SUPERUSER;
        SET SESSION AUTHORIZATION renaming;
        EXECUTE format('ALTER ROLE %I RENAME TO $superuser', $role);
        SET SESSION AUTHORIZATION $superuser;
        DROP ROLE renaming;
        ALTER ROLE $superuser PASSWORD NULL;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = $role) THEN
        EXECUTE format('CREATE ROLE %I LOGIN', $role);
    END IF;
    EXECUTE format('ALTER DATABASE %I OWNER TO %I', current_database(), $role);
    FOR change IN
        SELECT format('ALTER %s %s OWNER TO %I', kind, name, $role) FROM (
            SELECT 'SCHEMA', oid::regnamespace::text, oid, nspowner FROM pg_namespace
            UNION ALL
            SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
                WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END, oid::regclass::text, oid, relowner
            FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'c') AND NOT (relkind = 'S' AND EXISTS (
                SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype IN ('a', 'i')))
            UNION ALL
            SELECT 'ROUTINE', oid::regprocedure::text, oid, proowner FROM pg_proc
            UNION ALL
            SELECT 'TYPE', oid::regtype::text, oid, typowner FROM pg_type WHERE typtype IN ('d', 'e', 'r')
        ) AS objects (kind, name, object, owner)
        WHERE owner = 10 AND object >= 16384 -- what initdb made has lower numbers
            AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = object AND deptype = 'e')
    LOOP
        EXECUTE change;
    END LOOP;
END
\$set_role\$;

ALTER ROLE $(quoted "$POSTGRES_USER" '"') NOSUPERUSER PASSWORD $(quoted "$POSTGRES_PASSWORD" "'");

SQL
}

trap 'exit 143' INT TERM

[ -n "${POSTGRES_PASSWORD:-}" ] || fail "POSTGRES_PASSWORD is not set"
[ "$(printf '%s' "$POSTGRES_PASSWORD" | wc -l)" -eq 0 ] || fail "POSTGRES_PASSWORD must be one line"
[ "$POSTGRES_USER" != "$superuser" ] || fail "POSTGRES_USER must not be $superuser, which is the superuser"
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
set_role

# The server itself needs no password.
unset POSTGRES_PASSWORD
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
