# The shipped image has no compiler, no sources and no test tools, and does not run as root. It writes nothing
# to its own file system, so it runs read-only (docker-compose.yml). The base image is pinned to an exact version.
FROM node:22.22.2-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json ./
COPY src ./src
COPY scripts ./scripts
# The packages for Redis, RabbitMQ and gRPC are optional peers without dependencies. The image has them in the versions of package-lock.json.
RUN npm run prepack && mkdir -p /optional/@bufbuild \
  && mv node_modules/@redis node_modules/amqplib node_modules/@connectrpc /optional/ && mv node_modules/@bufbuild/protobuf /optional/@bufbuild/ \
  && npm prune --omit=dev

FROM node:22.22.2-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /optional ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json LICENSE ./
USER node
# Port for clients, and the one for gRPC, which is open only with server.grpc. The admin listener (8481) is not exposed, because it
# must not be public.
EXPOSE 8480 8482
# Checks liveness, not readiness: while MongoDB is down the service waits, and a restart would only drop its clients.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8481/livez').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "dist/cli/main.js"]
CMD ["start", "--config", "config/tidewire.yaml"]
