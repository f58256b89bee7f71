/** The service of `startTestService`, with clients of its HTTP transports. */
import { onTestFinished } from "vitest";
import { type Answer, ask, type Parameters, type PollAnswer, poll, SseClient, urlOf } from "./http-client.ts";
import { signToken, startTestService, type TestServiceOptions } from "./service.ts";

export interface Item {
  _id: number | string;
  owner?: string;
  n?: number;
  secret?: string;
  text?: string;
}

/** `items`: everybody their own, `secret` hidden; `board`: the same documents, for everybody; `staff`: for admins. */
export const COLLECTIONS = {
  items: {
    rules: [
      {
        name: "owner",
        when: { "%%user.sub": { $exists: true } },
        filter: { owner: "%%user.sub" },
        fields: { exclude: ["secret"] },
      },
    ],
  },
  board: { collection: "items", rules: [{ name: "everybody", anonymous: true }] },
  staff: { collection: "items", rules: [{ name: "admin", when: { "%%user.roles": { $in: ["admin"] } } }] },
};

export type Headers = Record<string, string>;

export const bearer = async (
  claims: object = { sub: "u1" },
  expiresInSeconds?: number,
): Promise<Headers> => ({
  Authorization: `Bearer ${await signToken({ ...claims }, expiresInSeconds)}`,
});

export async function startHttpService(options: Partial<TestServiceOptions> = {}) {
  const started = await startTestService({ collections: COLLECTIONS, ...options });
  const base = `http://127.0.0.1:${started.service.address.port}`;
  const streams: SseClient[] = [];
  onTestFinished(() => {
    for (const stream of streams) stream.cut();
  });
  const url = (path: string, parameters: Parameters = {}) =>
    urlOf(base, path, { collection: "items", ...parameters });
  return {
    ...started,
    base,
    url,
    items: started.db.collection<Item>("items"),
    async stream(parameters: Parameters = {}, headers?: Headers): Promise<SseClient> {
      const stream = await SseClient.stream(url("/v1/sse", parameters), headers ?? (await bearer()));
      streams.push(stream);
      return stream;
    },
    /** The answer to a request without a stream. */
    async refusal(parameters: Parameters = {}, headers?: Headers): Promise<Answer> {
      const { stream, refused } = await SseClient.open(
        url("/v1/sse", parameters),
        headers ?? (await bearer()),
      );
      if (stream === undefined) return refused;
      stream.cut();
      throw new Error("a stream was opened");
    },
    async poll(parameters: Parameters = {}, headers?: Headers): Promise<PollAnswer> {
      return poll(url("/v1/poll", parameters), headers ?? (await bearer()));
    },
    async key(claims?: object, expiresInSeconds?: number): Promise<string> {
      const { status, body } = await ask("POST", `${base}/v1/key`, await bearer(claims, expiresInSeconds));
      if (status !== 200) throw new Error(`no key: ${JSON.stringify(body)}`);
      return String(body["key"]);
    },
  };
}
