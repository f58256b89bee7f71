/** The service's own TLS: server.tls. */
import { copyFile, writeFile } from "node:fs/promises";
import { connect } from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import {
  closeServer,
  createPublicServer,
  listen,
  openSocketsOf,
} from "../../../src/gateway/http/listener.ts";
import { GatewayLimits } from "../../../src/gateway/limits.ts";
import { ServerOptions } from "../../../src/gateway/options.ts";
import { createMetrics } from "../../../src/metrics/metrics.ts";
import { isWithout } from "../../support/installed.ts";
import { makeCertificate } from "../../support/load-balancer.ts";
import { recordingLog } from "../../support/node.ts";

/** The certificate that the server shows to a new connection. */
const fingerprint = (port: number) =>
  new Promise<string>((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.on("error", reject);
  });

test.skipIf(isWithout("openssl"))(
  "a renewed certificate is taken without a restart, and a broken one leaves the old one in force",
  async () => {
    const [first, second] = await Promise.all([makeCertificate(), makeCertificate()]);
    const tls = { cert: first.certFile, key: first.keyFile };
    const { log, errors } = recordingLog();
    const options = ServerOptions.parse({ tls });
    const limits = GatewayLimits.parse({});
    const parts = {
      server: options,
      limits,
      sockets: openSocketsOf(limits, options),
      metrics: createMetrics(),
      log,
    };
    const server = createPublicServer(parts, (_request, response) => void response.end("here"));
    onTestFinished(() => closeServer(server));
    const { port } = await listen(server, { port: 0, host: "127.0.0.1" });
    const before = await fingerprint(port);

    await copyFile(second.keyFile, first.keyFile);
    await copyFile(second.certFile, first.certFile);
    await expect.poll(() => fingerprint(port), { timeout: 60_000, interval: 200 }).not.toBe(before);
    const renewed = await fingerprint(port);
    const told = errors().length;

    await writeFile(first.certFile, "no certificate");
    await expect.poll(() => errors().length, { timeout: 60_000 }).toBeGreaterThan(told);
    expect(errors().at(-1)).toContain("not usable");
    expect(await fingerprint(port)).toBe(renewed);
  },
);
