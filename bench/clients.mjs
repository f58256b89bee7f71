/** All clients of one contender, in one process: they subscribe, and count what comes. */
import { setTimeout as sleep } from "node:timers/promises";
import { inflateRawSync } from "node:zlib";
import { DIALECTS } from "./lib/dialects.mjs";
import { RawSocket } from "./lib/raw-socket.mjs";
import { clockMs, options, serve } from "./lib/serve.mjs";

const CONNECTING_AT_ONCE = 100;
const dialect = DIALECTS[options.dialect];
const N = Buffer.from('"n":');
const CURSOR = Buffer.from('"cursor":"');
const QUOTE = 0x22;
/** The end of the last message of a snapshot. */
const LAST = Buffer.from('"last":true}');
/** A message lacks the end of its last block (RFC 7692, 7.2.2). */
const TAIL = Buffer.from([0, 0, 0xff, 0xff]);

const clients = [];
let received = 0;
let lost = 0;
let expected = 0;
let seen = [];
let reached = () => {};

function count(by) {
  received += by;
  if (received === expected) reached();
}

/** The number in a document, which says when it was written. */
function numberIn(bytes, start, end) {
  let at = bytes.indexOf(N, start) + N.length;
  let n = 0;
  for (; at < end && bytes[at] >= 48 && bytes[at] <= 57; at++) n = n * 10 + bytes[at] - 48;
  return n;
}

/** The cursor of a change, which has no quotes in it. */
function cursorIn(bytes, start, end) {
  const at = bytes.indexOf(CURSOR, start) + CURSOR.length;
  return bytes.toString("latin1", at, Math.min(end, bytes.indexOf(QUOTE, at)));
}

class Client {
  filter;
  token;
  start = {};
  isBack = false;
  isDropped = false;
  #socket;

  isPatient;

  constructor(filter, token, isPatient) {
    this.filter = filter;
    this.token = token;
    this.isPatient = isPatient;
  }

  /** Takes a change, which it is given whole only where it wants to look at it. */
  onChange = () => count(1);
  extensions;
  aggregate;
  snapshot = false;
  wantsWhole = false;

  noteTimes() {
    this.wantsWhole = true;
    this.onChange = (bytes, start, end) => {
      seen.push(numberIn(bytes, start, end), clockMs());
      count(1);
    };
  }

  /** Counts whole snapshots. */
  countSnapshots() {
    this.snapshot = true;
    this.wantsWhole = true;
    this.onChange = (bytes, start, end, isCompressed) => {
      const payload = bytes.subarray(start, end);
      const text = isCompressed
        ? inflateRawSync(Buffer.concat([payload, TAIL]), { finishFlush: 2 })
        : payload;
      if (text.subarray(-LAST.length).equals(LAST)) count(1);
    };
  }

  /** Keeps where it is, to come back there. */
  followCursor() {
    this.wantsWhole = true;
    this.onChange = (bytes, start, end) => {
      if (this.start.ticket !== undefined) this.start.cursor = cursorIn(bytes, start, end);
      count(1);
    };
  }

  open() {
    return new Promise((resolve, reject) => {
      this.ready = (start = {}, startedAs = "live") => {
        this.start = start;
        this.startedAs = startedAs;
        resolve();
      };
      const fail = (why) => reject(new Error(`a client could not subscribe: ${why}`));
      this.#socket = new RawSocket(
        {
          port: options.port,
          path: dialect.path,
          protocol: dialect.protocol,
          ...(this.extensions === undefined
            ? {}
            : { headers: { "Sec-WebSocket-Extensions": this.extensions } }),
        },
        {
          wantsWhole: this.wantsWhole,
          isChange: dialect.isChange,
          onChange: this.onChange,
          onOpen: () => dialect.onOpen(this),
          onText: (text) => dialect.onText(this, text),
          onRefused: fail,
          onClose: () => {
            if (this.isDropped) return;
            lost++;
            fail("the connection was closed");
          },
        },
      );
    });
  }

  send(text) {
    this.#socket.send(text);
  }

  drop() {
    this.isDropped = true;
    this.#socket.drop();
  }
}

async function openAll(list) {
  for (let at = 0; at < list.length; at += CONNECTING_AT_ONCE)
    await Promise.all(list.slice(at, at + CONNECTING_AT_ONCE).map((client) => client.open()));
}

serve({
  ready: () => {},

  /** Makes more clients, a filter each. One in `sampleEvery` notes when each change came. */
  async open({
    filters,
    tokens = [],
    sampleEvery = 1,
    followsCursor = false,
    isPatient = false,
    extensions,
    snapshot = false,
    aggregate,
  }) {
    const more = filters.map((filter, i) => new Client(filter, tokens[i], isPatient));
    for (const [i, client] of more.entries()) {
      client.extensions = extensions;
      client.aggregate = aggregate;
      if (snapshot) client.countSnapshots();
      else if (followsCursor) client.followCursor();
      else if (i % sampleEvery === 0) client.noteTimes();
    }
    clients.push(...more);
    await openAll(more);
  },

  /** From now on this many deliveries are waited for. */
  arm({ deliveries }) {
    received = 0;
    expected = deliveries;
    seen = [];
  },

  /** Settles when they have come, or after the time has passed; says what has come by then. */
  async done({ withinMs }) {
    if (received < expected) {
      const timeout = new AbortController();
      await Promise.race([
        new Promise((resolve) => {
          reached = resolve;
        }),
        sleep(withinMs, undefined, { signal: timeout.signal }).catch(() => {}),
      ]);
      timeout.abort();
    }
    return { received, lost };
  },

  readBytes: () => RawSocket.readBytes,

  /** Numbers and times of arrival, in turn. */
  seen: () => Float64Array.from(seen),

  drop() {
    for (const client of clients) client.drop();
  },

  /** Comes back where each left off. */
  async reopen() {
    for (const client of clients) {
      client.isDropped = false;
      client.isBack = true;
    }
    await openAll(clients);
    return clients.filter(({ startedAs }) => startedAs !== "resumed").length;
  },
});
