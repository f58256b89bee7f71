/** The backends on the page about writes, as they are there: what they return passes as a fence. */
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import type { FastifyInstance } from "fastify";
import { ObjectId } from "mongodb";
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { WebSocket } from "ws";
import { createClient, type OperationTime } from "../../../src/client/client.ts";
import { objectId } from "../../../src/client/optimistic/optimistic.ts";
import { blockUnder, guideFolder, writeModule } from "../../support/guide.ts";
import { signToken, startTestService } from "../../support/service.ts";

let folder: Awaited<ReturnType<typeof guideFolder>>;
beforeAll(async () => {
  folder = await guideFolder();
});
afterAll(() => folder.remove());

const answerOf = async (response: Response) => (await response.json()) as Answer; // the test passes it to a fence

const post = async (url: string, order: object): Promise<Answer> => {
  const headers = { "content-type": "application/json" };
  return answerOf(await fetch(`${url}/orders`, { method: "POST", body: JSON.stringify(order), headers }));
};

interface Answer {
  readonly operationTime: OperationTime;
}
/** The exports of the examples, each of some. */
interface Backend {
  readonly server: RequestListener & FastifyInstance;
  readonly POST: (request: Request) => Promise<Response>;
  readonly saveOrder: (order: object) => Promise<Answer>;
}

/** How each backend takes an order. */
const BACKENDS: Record<
  string,
  readonly [language: string, run: (module: Backend) => Promise<(order: object) => Promise<Answer>>]
> = {
  Express: [
    "js",
    async ({ server: app }) => {
      const server = createServer(app);
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      onTestFinished(() => void server.close());
      return (order) => post(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, order);
    },
  ],
  Fastify: [
    "js",
    async ({ server }) => {
      onTestFinished(() => server.close());
      const url = await server.listen({ port: 0, host: "127.0.0.1" });
      return (order) => post(url, order);
    },
  ],
  "Next.js": [
    "ts",
    async ({ POST }) =>
      async (order) => {
        const body = JSON.stringify(order);
        return answerOf(await POST(new Request("http://127.0.0.1/orders", { method: "POST", body })));
      },
  ],
  Mongoose: ["js", async ({ saveOrder }) => saveOrder],
};

test.each(Object.keys(BACKENDS))(
  "%s writes the order, and a page that passes its operation time shows it",
  async (name) => {
    const {
      service,
      db,
      uri,
      name: database,
    } = await startTestService({
      collections: { orders: { rules: [{ name: "all" }] } },
    });
    vi.stubEnv("MONGODB_URI", uri.replace(/\/(?=\?|$)/, `/${database}`));
    onTestFinished(() => void vi.unstubAllEnvs());
    const [language, run] = BACKENDS[name] ?? [];
    const write = await run?.(
      await import(await writeModule(folder.folder, name, blockUnder("writes.md", name, language ?? ""))),
    );
    const client = createClient({
      url: `http://127.0.0.1:${service.address.port}`,
      token: () => signToken({ sub: "u1" }),
      WebSocket,
    });
    onTestFinished(() => client.close());
    const query = client.collection("orders").find();
    query.subscribe({});
    await query.snapshot();
    const _id = objectId();
    for (const total of [1, 2]) {
      const written = await write?.({ _id, status: "open", total, at: "now" });
      await client.fence(written?.operationTime ?? { t: 0, i: 0 });
      expect(query.getState().data).toMatchObject([{ _id, total }]);
    }
    expect(await db.collection("orders").countDocuments({ _id: new ObjectId(_id) })).toBe(1);
  },
);
