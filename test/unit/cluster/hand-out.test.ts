import { Socket } from "node:net";
import { expect, test } from "vitest";
import { HandOut, type Taker } from "../../../src/cluster/hand-out.ts";

/** A worker in name: it takes what it is handed when the test says so. */
class FakeTaker implements Taker {
  isUp = true;
  connections = 0;
  #onHanded: ((taken: boolean) => void) | undefined;

  get isFree(): boolean {
    return this.isUp && this.#onHanded === undefined;
  }

  hand(): Promise<boolean> {
    return new Promise((resolve) => {
      this.#onHanded = resolve;
    });
  }

  async take(): Promise<void> {
    this.connections++;
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

function startHandOut(count: number) {
  const takers = Array.from({ length: count }, () => new FakeTaker());
  const sockets: Socket[] = [];
  let refused = 0;
  const handOut = new HandOut(
    () => takers,
    () => refused++,
  );
  const connect = (times = 1) => {
    for (let i = 0; i < times; i++) {
      const socket = new Socket();
      sockets.push(socket);
      handOut.take(socket);
    }
  };
  return { takers, sockets, handOut, connect, refused: () => refused };
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

test("keeps connections while there is no worker, up to 4096, and refuses what comes on top", async () => {
  const { takers, sockets, connect, handOut, refused } = startHandOut(1);
  const [taker] = takers as [FakeTaker];
  taker.isUp = false;
  connect(4_096);
  expect(refused()).toBe(0);
  connect();
  expect(refused()).toBe(1);
  expect(sockets.filter(({ destroyed }) => destroyed)).toEqual([sockets[4_096]]);
  taker.isUp = true;
  handOut.next();
  for (let i = 0; i < 4_096; i++) await taker.take();
  expect(taker.connections).toBe(4_096);
});
