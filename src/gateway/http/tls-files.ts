import { readFileSync, unwatchFile, watchFile } from "node:fs";
import type { SecureContextOptions, Server } from "node:tls";
import { type GuardParts, guarded } from "../../metrics/guard.ts";
import type { TlsOptions } from "../tls-options.ts";

/** How often the files are checked for an edit, in milliseconds. */
const TLS_POLL_MS = 5_000;

/**
 * Reads a certificate and its key.
 * @throws The system's error, such as a missing file.
 */
export const readCertificate = ({ cert, key }: TlsOptions): SecureContextOptions => ({
  cert: readFileSync(cert),
  key: readFileSync(key),
  minVersion: "TLSv1.2",
});

/** Lets a server read a renewed certificate without a restart. A broken one changes nothing. */
export function followCertificate(server: Server, tls: TlsOptions, guard: GuardParts): void {
  const { log } = guard;
  const reload = guarded(guard, "tls.reload", () => {
    try {
      server.setSecureContext(readCertificate(tls));
      log.info("the TLS certificate was read again");
    } catch (error) {
      log.error({ err: error }, "the edited TLS certificate is not usable; the old one stays");
    }
  });
  for (const file of [tls.cert, tls.key])
    watchFile(file, { interval: TLS_POLL_MS, persistent: false }, reload);
  const stop = () => {
    for (const file of [tls.cert, tls.key]) unwatchFile(file, reload);
  };
  server.once("close", guarded(guard, "tls.close", stop));
}
