# The Todo Chatbot's database, for clusters without one of their own. Context: app/database.
ARG POSTGRES_IMAGE=postgres:15-alpine

FROM ${POSTGRES_IMAGE}
# initdb insists on a name for its user id.
RUN echo 'todo:x:1001:1001:Todo database:/tmp:/bin/false' >> /etc/passwd \
 && echo 'todo:x:1001:' >> /etc/group \
 && mkdir -p /var/lib/postgresql/data && chown 1001:1001 /var/lib/postgresql/data
COPY entrypoint.sh /usr/local/bin/todo-database
RUN chmod 755 /usr/local/bin/todo-database
ENV PGDATA=/var/lib/postgresql/data/pgdata \
    PGHOST=/tmp
EXPOSE 5432
USER 1001
# Fast shutdown: PostgreSQL's answer to SIGTERM would wait for every client to leave.
STOPSIGNAL SIGINT
ENTRYPOINT ["/usr/local/bin/todo-database"]
CMD []
ARG VERSION=1.0.0
LABEL org.opencontainers.image.title="todo-database" \
      org.opencontainers.image.description="Todo Chatbot: PostgreSQL 15" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
