import { Socket } from "node:net";
import { expect, test } from "vitest";
import { HandOut, type Taker } from "../../../src/cluster/hand-out.ts";
import { OpenSockets } from "../../../src/gateway/http/open-sockets.ts";
import { guardParts } from "../../support/guard-parts.ts";

/** A worker in name: it takes what it is handed when the test says so. */
class FakeTaker implements Taker {
  isUp = true;
  connections = 0;
  /** The callbacks of the hand-out, for each connection that was taken. */
  readonly ended: (() => void)[] = [];
  #onHanded: ((taken: boolean) => void) | undefined;
  #onEnded = () => {};

  get isFree(): boolean {
    return this.isUp && this.#onHanded === undefined;
  }

  hand(_socket: Socket, _to: string, onEnded: () => void): Promise<boolean> {
    this.#onEnded = onEnded;
    return new Promise((resolve) => {
      this.#onHanded = resolve;
    });
  }

  async take(): Promise<void> {
    this.connections++;
    this.ended.push(this.#onEnded);
    await this.#settle(true);
  }

  async end(): Promise<void> {
    this.isUp = false;
    await this.#settle(false);
  }

  async #settle(taken: boolean): Promise<void> {
    const settle = this.#onHanded;
    this.#onHanded = undefined;
    settle?.(taken);
    await new Promise(setImmediate);
  }
}

interface Limits {
  readonly perAddress?: number;
  readonly waitMs?: number;
}

function startHandOut(count: number, { perAddress = 10_000, waitMs = 60_000 }: Limits = {}) {
  const takers = Array.from({ length: count }, () => new FakeTaker());
  const sockets: Socket[] = [];
  const open = new OpenSockets({ total: Number.POSITIVE_INFINITY, perAddress }, null);
  const refusals: string[] = [];
  const handOut = new HandOut({
    guard: guardParts(),
    takers: () => takers,
    sockets: open,
    waitingMax: 4_096,
    waitMs,
    onRefused: (reason) => refusals.push(reason),
  });
  const connect = (times = 1) => {
    for (let i = 0; i < times; i++) {
      const socket = new Socket();
      sockets.push(socket);
      handOut.take(socket);
    }
  };
  return { takers, sockets, open, handOut, connect, refusals };
}

test("gives a connection to the worker that has the fewest", async () => {
  const { takers, connect } = startHandOut(2);
  const [full, empty] = takers as [FakeTaker, FakeTaker];
  full.connections = 10;
  for (let i = 0; i < 10; i++) {
    connect();
    await empty.take();
  }
  expect([full.connections, empty.connections]).toEqual([10, 10]);
});

test("does not wait for a worker that is busy while another one is free", async () => {
  const { takers, connect } = startHandOut(2);
  const [busy, free] = takers as [FakeTaker, FakeTaker];
  free.connections = 10;
  connect(2);
  await free.take();
  connect();
  await free.take();
  expect([busy.connections, free.connections]).toEqual([0, 12]);
});

test("closes its own copy once the worker has taken the connection, and not before", async () => {
  const { takers, sockets, connect } = startHandOut(1);
  connect();
  expect(sockets[0]?.destroyed).toBe(false);
  await takers[0]?.take();
  expect(sockets[0]?.destroyed).toBe(true);
});

test("a connection that was on its way to a worker as that ended goes to another, first of all", async () => {
  const { takers, sockets, connect } = startHandOut(2);
  const [dying, living] = takers as [FakeTaker, FakeTaker];
  connect(3);
  await dying.end();
  expect(sockets.map(({ destroyed }) => destroyed)).toEqual([false, false, false]);
  for (let i = 0; i < 3; i++) await living.take();
  expect(living.connections).toBe(3);
  expect(sockets.map(({ destroyed }) => destroyed)).toEqual([true, true, true]);
});

test("keeps connections while there is no worker, up to 4096, and refuses further ones", async () => {
  const { takers, sockets, connect, handOut, refusals } = startHandOut(1);
  const [taker] = takers as [FakeTaker];
  taker.isUp = false;
  connect(4_096);
  expect(refusals).toEqual([]);
  connect();
  expect(refusals).toEqual(["workers-busy"]);
  expect(sockets.filter(({ destroyed }) => destroyed)).toEqual([sockets[4_096]]);
  taker.isUp = true;
  handOut.next();
  for (let i = 0; i < 4_096; i++) await taker.take();
  expect(taker.connections).toBe(4_096);
});

test("counts a connection from accept on until its worker says that it has ended", async () => {
  const { takers, sockets, open, connect, refusals } = startHandOut(1, { perAddress: 2 });
  const [taker] = takers as [FakeTaker];
  connect(3);
  expect(refusals).toEqual(["address-limit"]);
  expect(sockets.map(({ destroyed }) => destroyed)).toEqual([false, false, true]);
  await taker.take();
  await taker.take();
  // The copies of this process are closed; the connections are not.
  expect(open.count).toBe(2);
  connect();
  expect(refusals).toHaveLength(2);
  taker.ended[0]?.();
  connect();
  expect(refusals).toHaveLength(2);
});

test("a connection that no worker takes within the time is closed, and makes room", async () => {
  const { takers, sockets, open, connect, refusals } = startHandOut(1, { waitMs: 10 });
  const [taker] = takers as [FakeTaker];
  connect(3);
  await expect.poll(() => refusals).toEqual(["workers-busy", "workers-busy"]);
  // The first is on its way to the worker.
  expect(sockets.map(({ destroyed }) => destroyed)).toEqual([false, true, true]);
  expect(open.count).toBe(1);
  await taker.take();
  expect(open.count).toBe(1);
});

test("a connection whose worker ended on the way is counted once, whichever worker takes it", async () => {
  const { takers, open, connect } = startHandOut(2);
  const [dying, living] = takers as [FakeTaker, FakeTaker];
  connect();
  await dying.end();
  expect(open.count).toBe(1);
  await living.take();
  expect(open.count).toBe(1);
  living.ended[0]?.();
  expect(open.count).toBe(0);
});

test("a connection whose worker ended on the way waits for another no longer than the time", async () => {
  const { takers, sockets, open, connect, refusals } = startHandOut(1, { waitMs: 10 });
  const [dying] = takers as [FakeTaker];
  connect();
  // On the way to the worker its first time runs out, which closes nothing.
  await new Promise<void>((resolve) => void sockets[0]?.once("timeout", resolve));
  expect(sockets[0]?.destroyed).toBe(false);
  await dying.end();
  await expect.poll(() => refusals).toEqual(["workers-busy"]);
  expect([sockets[0]?.destroyed, open.count]).toEqual([true, 0]);
});
