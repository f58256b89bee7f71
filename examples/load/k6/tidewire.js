// The load scenario for k6. See README.md in this folder.
import { hmac } from "k6/crypto";
import encoding from "k6/encoding";
import exec from "k6/execution";
import { Counter, Trend } from "k6/metrics";
import { WebSocket } from "k6/websockets";

const URL = __ENV.TIDEWIRE_URL || "ws://127.0.0.1:8480";
const SECRET = __ENV.TIDEWIRE_JWT_SECRET || "";
const USERS = Number(__ENV.USERS || 10);
const SECONDS = Number(__ENV.SECONDS || 10);
const P99_MS = Number(__ENV.P99_MS || 1_000);

const connectTime = new Trend("tidewire_connect", true);
const firstResultTime = new Trend("tidewire_first_result", true);
const deliveryTime = new Trend("tidewire_delivery", true);
const ready = new Counter("tidewire_users_ready");
const deliveries = new Counter("tidewire_deliveries");
const lost = new Counter("tidewire_lost");
const repeated = new Counter("tidewire_repeated");
const refused = new Counter("tidewire_refused");

export const options = {
  scenarios: {
    users: { executor: "per-vu-iterations", vus: USERS, iterations: 1, maxDuration: `${SECONDS + 30}s` },
  },
  summaryTrendStats: ["count", "min", "med", "p(90)", "p(95)", "p(99)", "max"],
  thresholds: {
    tidewire_users_ready: [`count==${USERS}`],
    tidewire_deliveries: ["count>0"],
    tidewire_lost: ["count==0"],
    tidewire_repeated: ["count==0"],
    tidewire_refused: ["count==0"],
    tidewire_delivery: [`p(99)<${P99_MS}`],
  },
};

export default function followOrders() {
  const user = `user-${exec.vu.idInTest - 1}`;
  const startedAt = Date.now();
  /** The last write of each document that has arrived. */
  const last = new Map();
  const socket = new WebSocket(`${URL}/v1/ws`, ["tidewire.v1"]);
  const send = (message) => socket.send(JSON.stringify(message));

  socket.onopen = () => send({ type: "hello", token: tokenOf(user) });
  socket.onerror = ({ error }) => {
    refused.add(1);
    console.error(`${user}: ${error}`);
  };
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    switch (message.type) {
      case "welcome":
        connectTime.add(Date.now() - startedAt);
        send({ type: "subscribe", id: "orders", collection: "orders", filter: { customer: user } });
        break;
      case "snapshot":
        for (const { load } of message.docs) if (load) last.set(load.doc, load.n);
        if (!message.last) break;
        firstResultTime.add(Date.now() - startedAt);
        ready.add(1);
        setTimeout(() => socket.close(), SECONDS * 1_000);
        break;
      case "added":
      case "changed":
        if (message.doc.load) check(last, message.doc.load);
        break;
      case "error":
        refused.add(1);
        console.error(`${user}: ${message.code}: ${message.message}`);
        socket.close();
    }
  };
}

/** Each write of a document must arrive once, in order. */
function check(last, { doc, n, at }) {
  const before = last.get(doc);
  deliveries.add(1);
  if (before !== undefined && n <= before) {
    repeated.add(1);
    return;
  }
  if (before !== undefined) lost.add(n - before - 1);
  last.set(doc, n);
  deliveryTime.add(Date.now() - at);
}

/** A token (JWT, HS256) that names the user. Your login service issues such tokens. */
function tokenOf(user) {
  const part = (value) => encoding.b64encode(JSON.stringify(value), "rawurl");
  const now = Math.floor(Date.now() / 1_000);
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub: user, iat: now, exp: now + 3_600 })}`;
  return `${signed}.${hmac("sha256", SECRET, signed, "base64rawurl")}`;
}
