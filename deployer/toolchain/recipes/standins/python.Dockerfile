# In the place of python:3.11-slim: Debian's Python 3.11 with pip and venv.
ARG BASE
FROM ${BASE}
ARG CA=/etc/todo-deploy/ca-bundle.crt
ENV LANG=C.UTF-8 \
    SSL_CERT_FILE=${CA} REQUESTS_CA_BUNDLE=${CA} CURL_CA_BUNDLE=${CA} PIP_CERT=${CA}
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      python3.11 python3.11-venv python3-pip ca-certificates netbase tzdata \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && cp ${CA} /etc/ssl/certs/ca-certificates.crt
# As upstream: `python` is Python 3, pip may install beside it, and packages are found under upstream's path.
RUN ln -sf python3.11 /usr/bin/python3 && ln -sf python3.11 /usr/bin/python \
 && rm -f /usr/lib/python3.11/EXTERNALLY-MANAGED \
 && mkdir -p /usr/local/lib/python3.11/dist-packages \
 && ln -s dist-packages /usr/local/lib/python3.11/site-packages
# Debian's `pip install --prefix /install` adds `local`; after `COPY --from=… /install /usr/local` it is found all the same.
RUN echo /usr/local/local/lib/python3.11/dist-packages > /usr/lib/python3/dist-packages/prefix.pth
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/local/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# The machine's own package index, where it has one.
ARG PIP_INDEX_URL=
ARG PIP_EXTRA_INDEX_URL=
ARG PIP_TRUSTED_HOST=
RUN set -e; \
    set_() { if [ -n "$2" ]; then pip config --global set "global.$1" "$2"; fi; }; \
    set_ index-url "$PIP_INDEX_URL"; \
    set_ extra-index-url "$PIP_EXTRA_INDEX_URL"; \
    set_ trusted-host "$PIP_TRUSTED_HOST"
CMD ["python3"]
