# In the place of postgres:15*: Debian's PostgreSQL 15 without the cluster management of Debian's packages (and the
# Perl it needs), and without just-in-time compilation (100 MB of LLVM).
ARG BASE
FROM ${BASE} AS server
RUN mkdir -p /etc/postgresql-common && echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql-15 postgresql-client-15 \
 && rm -rf /usr/lib/postgresql/15/lib/bitcode /usr/lib/postgresql/15/lib/llvmjit*

FROM ${BASE}
ARG CA=/etc/todo-deploy/ca-bundle.crt
ENV LANG=C.UTF-8 SSL_CERT_FILE=${CA} \
    PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PGDATA=/var/lib/postgresql/data
# 999 is the uid of upstream's Debian image. nss_wrapper gives a name to whatever uid the container runs under:
# initdb refuses to work without one.
RUN groupadd --system --gid 999 postgres \
 && useradd --system --uid 999 --gid postgres --home-dir /var/lib/postgresql --shell /bin/bash postgres \
 && apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      libpq5 libicu72 libxml2 libxslt1.1 libldap-2.5-0 libgssapi-krb5-2 libpam0g libssl3 liblz4-1 libzstd1 \
      libsystemd0 libuuid1 libedit2 libreadline8 libselinux1 libnss-wrapper tzdata \
 && apt-get clean && rm -rf /var/lib/apt/lists/*
COPY --from=server /usr/lib/postgresql/15 /usr/lib/postgresql/15
COPY --from=server /usr/share/postgresql/15 /usr/share/postgresql/15
COPY postgres-entrypoint /usr/local/bin/docker-entrypoint.sh
RUN ! ldd /usr/lib/postgresql/15/bin/* /usr/lib/postgresql/15/lib/*.so 2>/dev/null | grep 'not found' \
 && sed -i "s/^#listen_addresses = .*/listen_addresses = '*'/" /usr/share/postgresql/15/postgresql.conf.sample \
 && mkdir -p /docker-entrypoint-initdb.d \
 && install -d -m 1777 -o postgres -g postgres /var/lib/postgresql/data \
 && install -d -m 3777 -o postgres -g postgres /var/run/postgresql
EXPOSE 5432
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
