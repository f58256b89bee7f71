/**
 * Ways in which a client can be wrong: changes of what it receives and sends, and of how its connections end. Each function
 * returns the changes for one client.
 */
import { WebSocket } from "ws";

/** A defect that never sees the messages that this describes. */
export const deafTo = (isIgnored) => () => ({ received: (message) => (isIgnored(message) ? [] : [message]) });
/** A defect that reads messages wrongly. */
export const reading = (change) => () => ({ received: (message) => [change(message)] });
/** A defect that does not send the messages that this describes. */
export const silentAbout = (isKept) => () => ({ sent: (message) => (isKept(message) ? [] : [message]) });
/** A defect that takes a close code for another one. */
export const takingCode = (isTaken) => () => ({ closed: (code) => (isTaken(code) ? 4000 : code) });

export const without = (message, ...names) =>
  Object.fromEntries(Object.entries(message).filter(([name]) => !names.includes(name)));
export const isChange = ({ type }) => ["added", "changed", "removed"].includes(type);
export const isWhole = ({ type, last }) => type === "snapshot" && last;
const isSubscribe = ({ type }) => type === "subscribe";

const KNOWN =
  "welcome subscribed snapshot added changed removed watermark reset unsubscribed refreshed tickets";
const KNOWN_TOO = "expiring error draining fenced pong";
export const TYPES = new Set(`${KNOWN} ${KNOWN_TOO}`.split(" "));

/** Resumes from a cursor that `remember` chooses. */
export function resumingFrom(remember) {
  return () => {
    let cursor;
    return {
      received(message) {
        cursor = remember(message, cursor);
        return [message];
      },
      sent: (message) => [
        message.cursor === undefined ? message : { ...message, cursor: cursor ?? message.cursor },
      ],
    };
  };
}

export function showingBatches() {
  let docs = [];
  return {
    received(message) {
      if (message.type === "subscribed") docs = [];
      if (message.type !== "snapshot") return [message];
      docs = [...docs, ...message.docs];
      return [{ ...message, docs, last: true }];
    },
  };
}

/** Resumes before its first snapshot is complete, from a cursor in messages of this type. */
export function resumingFromPart(type) {
  return () => {
    let point;
    return {
      received(message) {
        if (message.type === "subscribed") point = { ticket: message.ticket };
        if (message.type === type) point = { ...point, cursor: message.cursor };
        return [message];
      },
      sent: (message) => [
        isSubscribe(message) && point?.cursor !== undefined ? { ...message, ...point } : message,
      ],
    };
  };
}

/** Keeps the ticket of its last `subscribed`. */
export function keepingTicket() {
  let ticket;
  return {
    received(message) {
      if (message.type === "subscribed") ticket = message.ticket;
      return [message];
    },
    sent: (message) => [message.ticket === undefined ? message : { ...message, ticket }],
  };
}

export function keepingAfterReset() {
  const held = new Map();
  let stale = [];
  return {
    received(message) {
      const { type, start, docs = [], doc, _id } = message;
      if (type === "reset" || start === "reset") {
        stale = [...held.values()];
        held.clear();
      }
      for (const one of doc === undefined ? docs : [doc]) held.set(JSON.stringify(one._id), one);
      if (type === "removed") held.delete(JSON.stringify(_id));
      if (!isWhole(message)) return [message];
      const kept = stale.filter((one) => !held.has(JSON.stringify(one._id)));
      stale = [];
      return [{ ...message, docs: [...docs, ...kept] }];
    },
  };
}

export function mixingIds() {
  const first = new Map();
  const idOf = (id) => {
    const key = String(id?.$oid ?? id);
    if (!first.has(key)) first.set(key, id);
    return first.get(key);
  };
  const mixed = (doc) => ({ ...doc, _id: idOf(doc._id) });
  return {
    received({ docs, doc, ...message }) {
      if (message._id !== undefined) message._id = idOf(message._id);
      return [{ ...message, ...(docs && { docs: docs.map(mixed) }), ...(doc && { doc: mixed(doc) }) }];
    },
  };
}

export function askingAtOnce() {
  let asked;
  return {
    sent(message) {
      if (isSubscribe(message)) asked = message;
      return [message];
    },
    received(message, socket) {
      if (message.type !== "error" || message.id === undefined) return [message];
      socket.sendNow(asked);
      return [];
    },
  };
}

export function forgettingFences() {
  const known = new Set();
  return {
    sent(message) {
      if (message.type === "fence" && known.has(message.id)) return [];
      known.add(message.id);
      return [message];
    },
  };
}

export function waitingForWelcome() {
  let waiting = [];
  return {
    sent(message) {
      if (message.type === "hello") waiting = [];
      else if (waiting !== undefined) waiting.push(message);
      return waiting === undefined || message.type === "hello" ? [message] : [];
    },
    received(message, socket) {
      if (message.type === "welcome") {
        for (const one of waiting) socket.sendNow(one);
        waiting = undefined;
      }
      return [message];
    },
  };
}

export const breakingOffAt = (isBreaking) => () => ({
  received(message, socket) {
    if (isBreaking(message)) socket.breakOff();
    return [message];
  },
});

/** The client counts the tokens that were refused since the last welcome, so it gets one before each refusal. */
export const WELCOME = {
  type: "welcome",
  heartbeat: 25_000,
  expires: null,
  reconnect: { minMs: 50, maxMs: 1_000, factor: 2, stableAfterMs: 5_000 },
  limits: { earlyMessages: 32, messageBytes: 65_536 },
};

/** A WebSocket class with the changes of a defect to what it receives and sends, and to how it ends. */
export function socketWith({
  received = (message) => [message],
  sent = (message) => [message],
  closed = (code) => code,
}) {
  return class {
    #socket;

    constructor(url, protocols) {
      const socket = new WebSocket(url, protocols);
      this.#socket = socket;
      let wasOpen = false;
      socket.onopen = () => {
        wasOpen = true;
        this.onopen?.();
      };
      socket.onmessage = ({ data }) => {
        for (const message of received(JSON.parse(data), this))
          this.onmessage?.({ data: JSON.stringify(message) });
      };
      socket.onerror = (event) => this.onerror?.(event);
      socket.onclose = ({ code, reason }) => this.onclose?.({ code: closed(code, wasOpen), reason });
    }

    send(text) {
      for (const message of sent(JSON.parse(text))) this.sendNow(message);
    }

    sendNow(message) {
      this.#socket.send(JSON.stringify(message));
    }

    breakOff() {
      this.#socket.terminate();
    }

    close(code) {
      this.#socket.close(code);
    }
  };
}
