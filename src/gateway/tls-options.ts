import { z } from "zod";

/** PEM files of a listener. They are read again when they change, so that a renewed certificate needs no restart. */
export const TlsOptions = z.strictObject({
  cert: z
    .string()
    .min(1)
    .meta({ examples: ["/etc/tidewire/cert.pem"] })
    .describe("File with the certificate chain, as PEM."),
  key: z
    .string()
    .min(1)
    .meta({ examples: ["/etc/tidewire/key.pem"] })
    .describe("File with the private key, as PEM."),
});
/** The TLS files, with all defaults filled in. */
export type TlsOptions = z.output<typeof TlsOptions>;
