# In the place of node:18-*: Debian's Node.js 18 with the npm that upstream ships with it.
ARG BASE
FROM ${BASE} AS npm
ARG CA=/etc/todo-deploy/ca-bundle.crt
ENV NODE_EXTRA_CA_CERTS=${CA} npm_config_cafile=${CA}
# Debian's npm is four hundred packages; it only fetches the real one.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends npm ca-certificates
ARG NPM_CONFIG_REGISTRY=
RUN if [ -z "$NPM_CONFIG_REGISTRY" ]; then unset NPM_CONFIG_REGISTRY; fi; \
    npm install --global --prefix /npm --no-audit --no-fund --no-update-notifier npm@10.8.2 \
 && rm -rf /npm/lib/node_modules/npm/docs /npm/lib/node_modules/npm/man

FROM ${BASE}
ARG CA=/etc/todo-deploy/ca-bundle.crt
ENV LANG=C.UTF-8 \
    SSL_CERT_FILE=${CA} CURL_CA_BUNDLE=${CA} NODE_EXTRA_CA_CERTS=${CA}
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nodejs ca-certificates \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && cp ${CA} /etc/ssl/certs/ca-certificates.crt \
 && groupadd --gid 1000 node && useradd --uid 1000 --gid node --shell /bin/bash --create-home node
COPY --from=npm /npm/ /usr/local/
# The machine's own package registry, where it has one.
ARG NPM_CONFIG_REGISTRY=
RUN if [ -z "$NPM_CONFIG_REGISTRY" ]; then unset NPM_CONFIG_REGISTRY; fi; \
    npm config set --location=global cafile "${CA}" \
 && npm config set --location=global update-notifier false \
 && if [ -n "$NPM_CONFIG_REGISTRY" ]; then npm config set --location=global registry "$NPM_CONFIG_REGISTRY"; fi \
 && rm -rf /root/.npm
CMD ["node"]
