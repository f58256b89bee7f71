/** `tidewire revoke --admin URL`: a running node revokes the tokens. */
import { z } from "zod";
import { PAGE_MAX } from "../admin/api/audit-endpoint.ts";
import { parseUntrusted } from "../protocol/parse-untrusted.ts";
import type { Revocation } from "../source/revocation-store.ts";
import type { Io } from "../terminal/io.ts";
import { type AdminNode, askNode, unexpected } from "./ask-node.ts";
import { dateOf, textOf } from "./revocation-text.ts";

/** Said of a write without an answer. */
export const UNCONFIRMED =
  "the change of the revocations is not confirmed, and may have taken effect: look at tidewire revoke --list as soon as MongoDB " +
  "answers, and repeat the command, which does no harm";

type Which = Pick<Revocation, "sub" | "iss" | "jti">;

/** The action that the command line asks for. */
export type AskedRevocation =
  | { readonly do: "list" }
  | { readonly do: "undo"; readonly which: Which }
  | { readonly do: "revoke"; readonly revocation: Revocation };

const Listed = z.object({
  revocations: z.array(
    z.object({
      sub: z.string(),
      iss: z.string().nullable(),
      jti: z.string().nullable(),
      issuedBefore: z.string().nullable(),
      expiresAt: z.string(),
    }),
  ),
  next: z.string().nullable(),
});

/** Does on a node what the command line asks for. @returns The exit code. */
export async function revokeAtNode(node: AdminNode, asked: AskedRevocation, io: Io): Promise<number> {
  if (asked.do === "list") return list(node, io);
  if (asked.do === "undo") {
    const answer = await askNode(node, "POST", "/revocations/undo", { json: asked.which }, UNCONFIRMED);
    if (answer.body["code"] === "no-revocation") {
      io.err(String(answer.body["error"]));
      return 1;
    }
    if (answer.status !== 200) throw unexpected(node, answer);
    io.out("the revocation is undone: such tokens are accepted again until they expire");
    return 0;
  }
  const { expiresAtMs, issuedBeforeMs, ...which } = asked.revocation;
  const before = issuedBeforeMs === null ? {} : { issuedBefore: dateOf(issuedBeforeMs) };
  const json = { ...which, ...before, forMs: expiresAtMs - io.now() };
  const answer = await askNode(node, "POST", "/revocations", { json }, UNCONFIRMED);
  if (answer.status !== 200) throw unexpected(node, answer);
  io.out(`revoked until ${dateOf(expiresAtMs)}: ${textOf(asked.revocation)}`);
  return 0;
}

async function list(node: AdminNode, io: Io): Promise<number> {
  let after: string | null = null;
  do {
    const page = new URLSearchParams({ limit: String(PAGE_MAX), ...(after === null ? {} : { after }) });
    const answer = await askNode(node, "GET", `/revocations?${page}`);
    const listed = parseUntrusted(Listed, answer.body);
    if (answer.status !== 200 || !listed.success) throw unexpected(node, answer);
    const { revocations, next } = listed.data;
    for (const { issuedBefore, expiresAt, ...which } of revocations) {
      const issuedBeforeMs = issuedBefore === null ? null : Date.parse(issuedBefore);
      io.out(`${textOf({ ...which, issuedBeforeMs })}, until ${expiresAt}`);
    }
    if (after === null && revocations.length === 0) io.out("nothing is revoked");
    after = next;
  } while (after !== null);
  return 0;
}
