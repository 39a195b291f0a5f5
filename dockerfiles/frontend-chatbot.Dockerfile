# The Todo Chatbot's chat frontend. Context: app/frontend-chatbot.
ARG NODE_IMAGE=node:24-alpine

FROM ${NODE_IMAGE} AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
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
