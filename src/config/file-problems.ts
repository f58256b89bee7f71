import { access, constants } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { z } from "zod";
import { KeyRefused, loadPublicKey } from "../auth/keys.ts";
import type { JwtOptions } from "../auth/options.ts";
import type { TlsOptions } from "../gateway/tls-options.ts";
import type { ConfigSchema } from "./config-schema.ts";
import type { Path } from "./config-text.ts";

/** The sections of a configuration that name files. */
type NamesFiles = Pick<z.output<typeof ConfigSchema>, "server" | "auth">;

/** The problems of the files that a configuration names. */
export async function* fileProblems(config: NamesFiles): AsyncGenerator<{ path: Path; message: string }> {
  const { server, auth } = config;
  const entries = auth.jwt ?? [];
  for (const [index, entry] of entries.entries())
    yield* jwtProblems(["auth", "jwt", ...(entries.length === 1 ? [] : [index])], entry);
  if (server.admin.jwt !== undefined) yield* jwtProblems(["server", "admin", "jwt"], server.admin.jwt);
  yield* tlsProblems(["server", "tls"], server.tls);
  yield* tlsProblems(["server", "grpc", "tls"], server.grpc?.tls);
}

async function* tlsProblems(
  path: Path,
  tls: TlsOptions | undefined,
): AsyncGenerator<{ path: Path; message: string }> {
  for (const key of ["cert", "key"] as const) {
    const file = tls?.[key];
    if (file !== undefined && !(await isReadable(file))) yield { path: [...path, key], message: UNREADABLE };
  }
}

async function* jwtProblems(path: Path, entry: JwtOptions): AsyncGenerator<{ path: Path; message: string }> {
  const message = keyFileProblem(entry);
  if (message !== undefined) yield { path: [...path, "publicKey"], message };
  if (entry.jwksUri?.startsWith("file:") && !(await isReadable(fileURLToPath(entry.jwksUri))))
    yield { path: [...path, "jwksUri"], message: UNREADABLE };
}

function keyFileProblem({ publicKey, algorithms }: JwtOptions): string | undefined {
  if (publicKey === undefined) return undefined;
  try {
    loadPublicKey(publicKey, algorithms);
    return undefined;
  } catch (error) {
    if (error instanceof KeyRefused) return error.message;
    throw error;
  }
}

const UNREADABLE = "the file cannot be read. Check its path (from this file's folder) and its rights";

async function isReadable(path: string): Promise<boolean> {
  try {
    await access(path, constants.R_OK);
    return true;
  } catch {
    // A missing file and a file without permission need the same advice.
    return false;
  }
}
