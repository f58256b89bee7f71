/**
 * One run of the simulation of presence: members who enter, leave, change their data, are cut off and reconnect to other nodes,
 * while nodes are killed, stopped, frozen for a moment and lose the documents of their leases. A model of each member
 * says whether it may be seen to leave, and what must be visible in the end.
 */
import { setTimeout as pause } from "node:timers/promises";
import { expect } from "vitest";
import { enter, PATIENCE } from "../support/presence.ts";
import { connectTo, follow, type Shown, startFleet } from "../support/presence-fleet.ts";
import { Random } from "../support/random.ts";
import type { SpawnedService } from "../support/spawn-service.ts";
import type { Received, WsClient } from "../support/ws-client.ts";

const LEASE_MS = 5_000;
/** A member that was away for longer than this share of the ttl may be seen to leave, because the machine may be busy. */
const SURE_SHARE = 0.4;
/** A busy machine adds to the lease, the ttl, and the search for entries without a lease. */
const SETTLING = { timeout: 60_000, interval: 50 };
const FROZEN_MS = 700;

export interface PresenceSimulationOptions {
  readonly seed: number;
  readonly members: number;
  readonly ttlMs: number;
  /** How long members and nodes have trouble, in milliseconds. */
  readonly troubleMs: number;
}

/** A user with one tab, as the model knows it. */
class Member {
  readonly sub: string;
  client: WsClient | undefined;
  /** Data of the last enter. */
  data = 0;
  /** Whether its entry must be visible in the end. */
  isIn = false;
  /** Since when it has no connection, on the monotonic clock; `null` while it is certain that it has one. */
  awaySinceMs: number | null = null;
  /** It has asked to leave, or was away for so long that it may be seen to leave until it has entered again. */
  mayLeave = true;

  constructor(sub: string) {
    this.sub = sub;
  }
}

export class PresenceSimulation {
  readonly #options: PresenceSimulationOptions;
  readonly #random: Random;
  readonly #fleet: Awaited<ReturnType<typeof startFleet>>;
  readonly #members: readonly Member[];
  readonly #counts: Record<string, number> = {};
  readonly #faults: string[] = [];
  readonly #removedLeases = new Set<string>();
  #followed: ReadonlyMap<unknown, Shown> = new Map();
  #longestMs = 0;
  #isOver = false;

  private constructor(options: PresenceSimulationOptions, fleet: Awaited<ReturnType<typeof startFleet>>) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#fleet = fleet;
    this.#members = Array.from({ length: options.members }, (_, i) => new Member(`u${i}`));
  }

  static async start(options: PresenceSimulationOptions): Promise<PresenceSimulation> {
    return new PresenceSimulation(options, await startFleet(3, options.ttlMs));
  }

  /** Runs to the end. @returns Counts, for the log. */
  async run(): Promise<Readonly<Record<string, number>>> {
    // The first node is never killed, so that the follower sees every change.
    const [stable] = this.#fleet.nodes as [SpawnedService];
    this.#followed = (await follow(stable, (user) => this.#hasLeft(user))).shown;
    const living = this.#members.map((member) => this.#live(member, this.#random.fork()));
    await this.#strike();
    this.#isOver = true;
    await Promise.all(living);
    await this.#settle();
    return this.#counts;
  }

  #count(what: string): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + 1;
  }

  /** The follower has seen an entry leave. */
  #hasLeft(user: string): void {
    this.#count("seen to leave");
    const member = this.#members.find(({ sub }) => sub === user);
    if (member === undefined || member.mayLeave) return;
    const awayMs = member.awaySinceMs === null ? null : performance.now() - member.awaySinceMs;
    if (awayMs !== null && awayMs >= this.#options.ttlMs) return;
    this.#faults.push(
      `${user} was seen to leave ${awayMs === null ? "while it was connected" : `after ${awayMs} ms`}`,
    );
  }

  async #live(member: Member, random: Random): Promise<void> {
    while (!this.#isOver) {
      if (!member.isIn || member.client?.closed !== undefined) await this.#comeBack(member, random);
      await pause(random.int(50, 500));
      const choice = random.next();
      if (choice < 0.3) await this.#cut(member, random);
      else if (choice < 0.6) await this.#change(member, random);
      else if (choice < 0.75) await this.#comeBack(member, random);
      else if (choice < 0.85) await this.#leave(member, random);
      else if (choice < 0.86) {
        this.#vanish(member);
        return;
      }
    }
    // A member that was cut off by the last trouble comes back.
    if (member.isIn && member.client?.closed !== undefined) await this.#comeBack(member, random);
  }

  /** Enters on any node that runs. A connection that is still there ends after that, as when a client moves. */
  async #comeBack(member: Member, random: Random): Promise<void> {
    const before: (WsClient | undefined)[] = [];
    const sinceMs = performance.now();
    for (let isEntered = false; !isEntered; ) {
      before.push(member.client);
      // A late deletion names the owner before. It spares an entry whose data were written since.
      const isUncertain = member.mayLeave || this.#isLate(member);
      if (isUncertain) {
        member.mayLeave = true;
        member.data++;
      }
      isEntered = await this.#enterOnce(member, random);
      if (isEntered && isUncertain) isEntered = await this.#isSeen(member);
      // The answer may have been slow. Then it is uncertain, too.
      if (isEntered && !isUncertain && this.#isLate(member)) isEntered = false;
      if (!isEntered) await pause(random.int(20, 100));
    }
    member.mayLeave = false;
    member.isIn = true;
    member.awaySinceMs = null;
    this.#closeNoted(member);
    for (const client of before) if (client !== member.client) client?.socket.terminate();
    this.#longestMs = Math.max(this.#longestMs, performance.now() - sinceMs);
    this.#count("entered");
  }

  #isLate({ awaySinceMs }: Member): boolean {
    return awaySinceMs !== null && performance.now() - awaySinceMs > this.#options.ttlMs * SURE_SHARE;
  }

  async #enterOnce(member: Member, random: Random): Promise<boolean> {
    try {
      const client = await connectTo(random.pick(this.#fleet.nodes), member.sub);
      const { type } = await enter(client, "r1", { data: { n: member.data } });
      if (type !== "entered") {
        client.socket.terminate();
        return false;
      }
      member.client = client;
      client.onMessage = (message) => this.#received(member, client, message);
      return true;
    } catch {
      return false; // that node does not run now
    }
  }

  /** Waits until the follower has seen the data. @returns `false` if the connection has ended before. */
  async #isSeen(member: Member): Promise<boolean> {
    const seen = () => [...this.#followed.values()].find(({ user }) => user === member.sub)?.data;
    const isSeen = () => (seen() as { n: number } | undefined)?.n === member.data;
    await expect.poll(() => isSeen() || member.client?.closed !== undefined, PATIENCE).toBe(true);
    return isSeen();
  }

  /** The connection of a member may end at any time. */
  #closeNoted(member: Member): void {
    const { client } = member;
    if (client === undefined) return;
    const note = () => {
      if (member.client === client) member.awaySinceMs ??= performance.now();
    };
    if (client.closed !== undefined) note();
    else client.socket.once("close", note);
  }

  #received(member: Member, client: WsClient, message: Received): void {
    if (message.type !== "left" || member.client !== client || member.mayLeave) return;
    this.#faults.push(`${member.sub} received left (${String(message.reason)}) at ${client.socket.url}`);
  }

  /** A disconnection that is shorter than the ttl. */
  async #cut(member: Member, random: Random): Promise<void> {
    member.awaySinceMs ??= performance.now();
    member.client?.socket.terminate();
    this.#count("cuts");
    await pause(random.int(0, this.#options.ttlMs / 4));
    await this.#comeBack(member, random);
  }

  /** If the connection ends before the answer, the member sends the same data when it comes back. */
  async #change(member: Member, random: Random): Promise<void> {
    const { client } = member;
    member.data += random.int(1, 9);
    this.#count("changes");
    await client
      ?.ask({ type: "enter", id: "e", room: "r1", tab: "tab-1", data: { n: member.data } })
      .catch(() => {});
  }

  /** If the connection ends before the answer, the entry ends after the ttl. */
  async #leave(member: Member, random: Random): Promise<void> {
    member.mayLeave = true;
    member.isIn = false;
    this.#count("leaves");
    await member.client?.ask({ type: "leave", id: "e" }).catch(() => {}); // a node was killed
    member.client?.socket.terminate();
    member.awaySinceMs = performance.now();
    await pause(random.int(0, 1_000));
  }

  /** The member goes for good without a word. */
  #vanish(member: Member): void {
    member.awaySinceMs ??= performance.now();
    member.isIn = false;
    member.client?.socket.terminate();
    this.#count("vanished");
  }

  /** Kills and stops nodes, freezes them for less than their lease, and removes documents of leases. */
  async #strike(): Promise<void> {
    const { nodes, leases, entries } = this.#fleet;
    const endMs = performance.now() + this.#options.troubleMs;
    // Entries that a node has written after its lease was gone.
    await entries.insertMany(
      ["late-0", "late-1"].map((_id) => ({
        _id,
        room: "r1",
        user: "nobody",
        data: null,
        node: `${_id}-gone`,
      })),
    );
    while (performance.now() < endMs || (this.#counts["kills"] ?? 0) < 2 || !("stops" in this.#counts)) {
      await pause(this.#random.int(1_000, 2_500));
      const node = this.#random.pick(nodes.slice(1));
      const choice = this.#random.next();
      if (choice < 0.35) {
        await node.restart("SIGKILL");
        this.#count("kills");
      } else if (choice < 0.6) {
        await node.restart("SIGTERM");
        this.#count("stops");
      } else if (choice < 0.8) {
        node.signal("SIGSTOP");
        await pause(FROZEN_MS);
        node.signal("SIGCONT");
        this.#count("frozen");
      } else {
        const names = await leases.distinct("_id", { _id: /^presence\// });
        const name = this.#random.pick(names);
        await leases.deleteOne({ _id: name });
        this.#removedLeases.add(name);
        this.#count("leases removed");
      }
    }
  }

  /** Waits until exactly the members who are in the room are visible, with their last data. */
  async #settle(): Promise<void> {
    const sinceMs = performance.now();
    const wanted = this.#wanted();
    try {
      await expect.poll(() => this.#sorted([...this.#followed.values()]), SETTLING).toEqual(wanted);
    } catch (error) {
      await this.#explain(wanted);
      throw error;
    }
    this.#counts["settled after ms"] = Math.round(performance.now() - sinceMs);
    this.#counts["longest return ms"] = Math.round(this.#longestMs);
    // A false deletion would follow now: all leases and the ttl are over.
    await pause(Math.max(0, LEASE_MS + this.#options.ttlMs + 3_000 - (performance.now() - sinceMs)));
    this.#noteFalseWarnings();
    expect(this.#faults, `seed ${this.#options.seed}`).toEqual([]);
    expect(this.#sorted([...this.#followed.values()])).toEqual(wanted);
    const saved = await this.#fleet.entries.find().toArray();
    expect(
      this.#sorted(saved.map(({ user, data }) => ({ user: String(user), data: data as unknown }))),
    ).toEqual(wanted);
    const [, another] = this.#fleet.nodes as [SpawnedService, SpawnedService];
    const { shown } = await follow(another);
    await expect.poll(() => this.#sorted([...shown.values()]), PATIENCE).toEqual(wanted);
  }

  /** A node that ends takes its lease with it: nobody has removed that. */
  #noteFalseWarnings(): void {
    for (const { log } of this.#fleet.nodes)
      for (const line of log.filter((line) => line.includes("the lease of a node was removed"))) {
        const { node } = JSON.parse(line) as { node: string };
        if (!this.#removedLeases.has(`presence/${node}`)) this.#faults.push(`nobody has removed: ${line}`);
      }
  }

  /** Prints what MongoDB and the nodes know about the entries that are wrongly there, or missing. */
  async #explain(wanted: readonly Shown[]): Promise<void> {
    const { entries, leases, nodes, traceOf } = this.#fleet;
    const users = new Set(wanted.map(({ user }) => user));
    const found = await entries.find().toArray();
    const wrong = found.filter(({ user }) => !users.has(String(user)));
    const missing = [...users].filter((user) => !found.some((entry) => entry["user"] === user));
    console.log("wrongly there:", wrong, "missing:", missing, "seen before:", this.#faults);
    for (const user of [...wrong.map((entry) => String(entry["user"])), ...missing]) {
      const trace = (await traceOf(user)).map(({ wall, op, o, o2 }) => JSON.stringify({ wall, op, o, o2 }));
      console.log(user, trace.slice(-20).join("\n"));
    }
    console.log("leases:", JSON.stringify(await leases.find({ _id: /^presence\// }).toArray()));
    for (const { log } of nodes) console.log(log.filter((line) => line.includes("presence")).join("\n"));
  }

  #wanted(): readonly Shown[] {
    const present = this.#members.filter(({ isIn }) => isIn);
    return this.#sorted(present.map(({ sub, data }) => ({ user: sub, data: { n: data } })));
  }

  #sorted(shown: readonly Shown[]): readonly Shown[] {
    return [...shown].sort((a, b) => (a.user < b.user ? -1 : 1));
  }
}
