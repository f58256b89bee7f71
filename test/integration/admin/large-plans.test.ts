/** The cost of a plan for the clients of the node that computes it. */
import { expect, test } from "vitest";
import { startTestService } from "../../support/service.ts";

const TOKEN = "a-token-for-the-admins-of-a-test-0123456789";
const COLLECTIONS = { items: { rules: [{ name: "all" }] } };
const SIZE = 655 * 1_024;

const start = (admin: object = {}) =>
  startTestService({
    collections: COLLECTIONS,
    server: { admin: { port: 0, token: TOKEN, ...admin } },
    limits: { requestsPerSecond: 100_000, requestBurst: 100_000 },
  });

type Started = Awaited<ReturnType<typeof start>>;

async function plan({ service }: Started, body: string) {
  const answer = await fetch(`http://127.0.0.1:${service.adminAddress.port}/api/v1/plan`, {
    method: "POST",
    headers: { authorization: `Bearer ${TOKEN}` },
    body,
  });
  return { status: answer.status, text: await answer.text() };
}

/** How many fences a client gets answered, one after another, while the text is planned. */
async function fencesDuring(started: Started, text: string) {
  const client = await started.connect({ sub: "u1" });
  const at = await started.now();
  await client.fence(at);
  let isPlanned = false;
  const planned = plan(started, text).finally(() => {
    isPlanned = true;
  });
  let fences = 0;
  while (!isPlanned) {
    await client.fence(at);
    fences++;
  }
  return { fences, ...(await planned) };
}

const filled = (line: (index: number) => string, separator: string) => {
  const lines: string[] = [];
  for (let size = 0; size < SIZE; size += (lines.at(-1)?.length ?? 0) + separator.length)
    lines.push(line(lines.length));
  return lines.join(separator);
};

const rule = (index: number) => ({
  name: `r${index}`,
  when: { "%%user.group": index },
  filter: { owner: "%%user.sub", status: { $in: ["a", "b", "c"] } },
});
const rules = Array.from({ length: 2_500 }, (_, index) => rule(index));

const TEXTS: readonly (readonly [string, string, number])[] = [
  ["of 60,000 keys", filled((index) => `k${index}: 1`, "\n"), 422],
  ["of one long list", `a: [${filled(() => "1", ",")}]`, 422],
  ["of nested brackets", `a: ${"[".repeat(SIZE)}`, 422],
  ["with a mistake in each line", filled(() => "\t- a: b", "\n"), 422],
  ["of 2,500 rules", JSON.stringify({ mongodb: { database: "x" }, collections: { items: { rules } } }), 200],
];

test.each(TEXTS)("clients go on being answered while a text %s is planned", async (_what, text, status) => {
  const started = await start();
  const { fences, ...answer } = await fencesDuring(started, text);
  expect(answer.status).toBe(status);
  expect(answer.text.length).toBeLessThan(2 * SIZE);
  // A loop that is held answers none, or one that was on its way.
  expect(fences).toBeGreaterThan(5);
});

test("an edit that takes too long to read is given up, and the next one is read", async () => {
  const started = await start({ planTimeout: "1s" });
  const slow = `a: [${filled(() => "1", ",")}, ${"1,".repeat(150_000)}]`;
  expect(await plan(started, slow)).toMatchObject({
    status: 422,
    text: expect.stringContaining("server.admin.planTimeout"),
  });
  // A small one may take a second, too, where the machine is busy; but nothing is in its way.
  const { status } = await plan(
    started,
    JSON.stringify({ mongodb: { database: "x" }, collections: COLLECTIONS }),
  );
  expect([200, 422]).toContain(status);
});

test.each([
  [0, 200],
  [1, 413],
])(
  "server.admin.planBytes is the size of a body that is read: %i bytes more get %i",
  async (more, status) => {
    const started = await start({ planBytes: "4KiB" });
    const edit = JSON.stringify({ mongodb: { database: "x" }, collections: COLLECTIONS });
    const sent = plan(started, edit.padEnd(4_096 + more));
    // The service closes the connection without reading the rest, which may reach the client first.
    expect(await sent.then((answer) => answer.status).catch(() => 413)).toBe(status);
  },
);
