# The Todo Chatbot's web frontend. Context: app/frontend-web.
ARG NODE_IMAGE=node:24-alpine

FROM ${NODE_IMAGE} AS build
WORKDIR /build
ENV NEXT_TELEMETRY_DISABLED=1
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
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
