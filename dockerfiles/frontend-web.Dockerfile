# The Todo Chatbot's web frontend. Context: app/frontend-web.
ARG NODE_IMAGE=node:24-alpine

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /build
ENV NEXT_TELEMETRY_DISABLED=1
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund --prefer-offline

# For development (profile `dev` of the spec): Next's own server, which reloads what changes.
FROM dependencies AS dev
RUN chown 1001:1001 . node_modules
USER 1001
ENV HOME=/tmp
EXPOSE 3000
ENTRYPOINT ["node_modules/.bin/next", "dev", "--hostname", "0.0.0.0", "--port", "3000"]
COPY --chown=1001:1001 . .

FROM dependencies AS build
COPY . .
# Next writes the base path into every address of the build, so it cannot be a setting of the container.
ARG NEXT_PUBLIC_BASE_PATH=
RUN NEXT_PUBLIC_BASE_PATH="${NEXT_PUBLIC_BASE_PATH}" npm run build && chmod -R a+rX .next/standalone

FROM ${NODE_IMAGE}
ARG PORT=3000
ENV NODE_ENV=production \
    NEXT_TELEMETRY_DISABLED=1 \
    NODE_OPTIONS=--max-old-space-size=160 \
    PORT=${PORT}
WORKDIR /app
EXPOSE ${PORT}
USER 1001
ENTRYPOINT ["node", "start.mjs"]
COPY --from=build /build/.next/standalone ./
ARG VERSION=1.0.0
LABEL org.opencontainers.image.title="todo-frontend-web" \
      org.opencontainers.image.description="Todo Chatbot: task list in the browser" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
