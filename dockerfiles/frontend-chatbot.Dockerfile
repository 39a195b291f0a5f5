# The Todo Chatbot's chat frontend. Context: app/frontend-chatbot.
ARG NODE_IMAGE=node:24-alpine

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /build
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund --prefer-offline

# For development (profile `dev` of the spec): Vite's server, which reloads what changes, before the page's own.
FROM dependencies AS dev
RUN chown 1001:1001 . node_modules && mkdir -p dist
USER 1001
ENV HOME=/tmp
EXPOSE 3001
ENTRYPOINT ["sh", "-c", "PORT=3002 BIND_ADDRESS=127.0.0.1 node server.mjs & exec node_modules/.bin/vite --host 0.0.0.0"]
COPY --chown=1001:1001 . .

FROM dependencies AS build
COPY . .
RUN npm run build && chmod -R a+rX dist server.mjs guard.mjs

FROM ${NODE_IMAGE}
ENV NODE_ENV=production \
    NODE_OPTIONS=--max-old-space-size=96 \
    PORT=3001
WORKDIR /app
EXPOSE 3001
USER 1001
ENTRYPOINT ["node", "server.mjs"]
COPY --from=build /build/server.mjs /build/guard.mjs ./
COPY --from=build /build/dist dist
ARG VERSION=1.0.0
LABEL org.opencontainers.image.title="todo-frontend-chatbot" \
      org.opencontainers.image.description="Todo Chatbot: tasks by plain English" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
