/**
 * The measured scenarios. A scenario has lanes, each one contender with what its clients follow, and a `round` that measures
 * one lane once; lower values are better unless it says otherwise. `targets` compare lanes of one round.
 */
import { mixedFilters } from "./lib/documents.mjs";
import { tokenFor } from "./lib/tokens.mjs";

const roomFilters = (count) => Array.from({ length: count }, (_, room) => ({ room }));
const sameFilters = (count) => Array.from({ length: count }, () => ({ room: 0 }));
const perDelivery = ({ cpuMs, deliveries }) => (cpuMs * 1_000) / deliveries;
const perChange = ({ cpuMs, changes }) => (cpuMs * 1_000) / changes;

/** So slow, or so hard on MongoDB, that less of everything has to do. */
const WATCHERS = 50;

const fanOutInBursts = ({ clients, scale }) => {
  const lane = (contender, count, size, most = clients) => ({
    contender,
    round: async (lane) => {
      const measured = await lane.burst({ kind: "fan", count: count * scale, size: size * scale });
      return { ...measured, value: perDelivery(measured) };
    },
    open: (lane) =>
      lane.open(sameFilters(Math.min(most, clients)), { sampleEvery: Number.POSITIVE_INFINITY }),
  });
  return {
    name: "fan-out in bursts",
    about: `${clients} subscribers of one live query; CPU of the server per delivery`,
    unit: "µs",
    reference: "limit-ws",
    lanes: [
      lane("limit-ws", 100, 100),
      lane("limit-route", 100, 100),
      lane("diy-single", 100, 100),
      lane("diy-watch", 100, 100, WATCHERS),
      lane("socket.io", 100, 100),
      lane("parse", 10, 10),
      lane("tidewire", 2_000, 500),
    ],
    targets: [{ lane: "tidewire", against: "limit-ws", atMost: 0.05 }],
  };
};

const fanOutPaced = ({ clients, scale }) => {
  const lane = (contender, most = clients) => ({
    contender,
    open: (lane) => lane.open(sameFilters(Math.min(most, clients)), { sampleEvery: 25 }),
    round: async (lane) => {
      const measured = await lane.pace({ kind: "fan", count: 50 * scale, perSecond: 25 });
      return { ...measured, value: perDelivery(measured) };
    },
  });
  return {
    name: "fan-out, paced",
    about: `the same, 25 changes a second; CPU of the server per delivery, latency from the acknowledgement`,
    unit: "µs",
    reference: "limit-ws",
    lanes: [
      lane("limit-ws"),
      lane("limit-route"),
      lane("diy-single"),
      lane("diy-watch", WATCHERS),
      lane("socket.io"),
      lane("parse"),
      lane("tidewire"),
    ],
    targets: [{ lane: "tidewire", against: "limit-ws", atMost: 1.3 }],
  };
};

const selective = ({ queries, scale }) => {
  const lane = (contender, count, rest = {}) => {
    const { name = contender, filters = roomFilters(queries), kind = "room" } = rest;
    return {
      contender,
      name,
      // How they connect is not measured here, and builds that `--build` names may know one way only.
      open: (lane) => lane.open(filters, { isPatient: true }),
      round: async (lane) => {
        // Without followers, each change is counted.
        const of = Math.max(1, filters.length);
        // No more at once than there are rooms where there are fewest: each change is a write of its own everywhere.
        const size = Math.min(count, 100) * scale;
        const measured = await lane.burst({ kind, count: count * scale, size, of });
        return { ...measured, value: perChange(measured) };
      },
    };
  };
  return {
    name: "selective",
    about: `${queries} live queries {room: n} on as many connections, each change is for one; CPU of the server per change`,
    unit: "µs",
    reference: "limit-route",
    lanes: [
      lane("limit-stream", 5_000, { filters: [] }),
      lane("limit-stream-raw", 5_000, { filters: [] }),
      lane("limit-route", 5_000),
      lane("limit-route", 5_000, { name: "limit-route, 100", filters: roomFilters(Math.min(queries, 100)) }),
      lane("diy-single", 500),
      lane("diy-watch", 100, { filters: roomFilters(Math.min(queries, WATCHERS)) }),
      lane("socket.io", 2_500),
      lane("parse", 10),
      lane("tidewire", 5_000),
      lane("tidewire", 5_000, { name: "tidewire, 100", filters: roomFilters(Math.min(queries, 100)) }),
      lane("tidewire", 5_000, { name: "tidewire, mixed", filters: mixedFilters(queries), kind: "mixed" }),
    ],
    targets: [
      { lane: "tidewire", against: "limit-route", atMost: 0.8 },
      { lane: "tidewire", against: "tidewire, 100", atMost: 1.1 },
      { lane: "tidewire, mixed", against: "tidewire", atMost: 2 },
    ],
  };
};

const growth = ({ scale, inProcess }) => {
  const lane = (queries) => ({
    contender: "tidewire-in-process",
    name: `${queries} live queries`,
    open: (lane) => lane.open(roomFilters(queries)),
    round: async (lane) => {
      const measured = await lane.burst({ kind: "room", count: 5_000 * scale, size: 500 * scale });
      return { ...measured, value: perChange(measured) };
    },
  });
  const [few, many, most] = inProcess;
  return {
    name: "growth",
    about:
      "Tidewire with subscribers in the process; CPU per change, from the change stream to the ready frame",
    unit: "µs",
    reference: `${few} live queries`,
    lanes: inProcess.map(lane),
    targets: [
      { lane: `${many} live queries`, against: `${few} live queries`, atMost: 1.1 },
      { lane: `${most} live queries`, against: `${few} live queries`, atMost: 1.25 },
    ],
  };
};

const sorted = ({ scale, windows }) => {
  const lane = (documents) => ({
    contender: "tidewire-in-process",
    name: `${documents} documents`,
    parts: { writer: { updates: true } },
    open: (lane) => lane.open([{}], { sort: [["n", 1]] }),
    round: async (lane) => {
      // The round that does not count inserts all of them. Every later write moves the first to the end.
      const count = Math.max(documents, 5_000 * scale);
      const measured = await lane.burst({ kind: "room", count, size: 500 * scale, of: documents });
      return { ...measured, value: perChange(measured) };
    },
  });
  const [few, many] = windows;
  return {
    name: "sorted",
    about:
      "one sorted live query of all documents, each change moves one from the front to the end; CPU per change, from the change stream to the ready frame",
    unit: "µs",
    reference: `${few} documents`,
    lanes: windows.map(lane),
    targets: [{ lane: `${many} documents`, against: `${few} documents`, atMost: 2 }],
  };
};

const counts = ({ counters, scale }) => {
  const lane = (name, rest) => ({
    contender: "tidewire-in-process",
    name,
    open: (lane) => lane.open(roomFilters(counters), rest),
    round: async (lane) => {
      // No more at once than there are live queries: changes of one counter in one batch would be one message.
      const size = Math.min(500 * scale, counters);
      await lane.burst({ kind: "room", count: 5_000 * scale, size });
      const measured = await lane.burst({ kind: "room", count: 20_000 * scale, size });
      return { ...measured, value: perChange(measured) };
    },
  });
  return {
    name: "counts",
    about: `${counters} live queries {room: n}, each change is for one: documents, counts, and counts with a sum by a path; CPU per change, from the change stream to the ready frame`,
    unit: "µs",
    reference: "documents",
    // One process of a lane differs from the next by more than the lanes do, by what its engine compiled and when.
    isFresh: true,
    lanes: [
      lane("documents", {}),
      lane("counts", { aggregate: {} }),
      lane("groups with a sum", {
        aggregate: { by: "room", values: { n: { count: true }, sum: { sum: "n" } } },
      }),
    ],
    targets: [{ lane: "counts", against: "documents", atMost: 1.2 }],
  };
};

/** Documents that are written at once, so that their texts need not all be in memory. */
const FILLED_AT_ONCE = 100_000;

const openingCount = ({ counted }) => {
  // A filter of its own each time: an equal count would share the state of the one before.
  let opened = 0;
  const lane = (contender, name) => ({
    contender,
    name,
    open: async (lane) => {
      for (let rest = counted; rest > 0; rest -= FILLED_AT_ONCE)
        await lane.fill({ kind: "room", count: Math.min(rest, FILLED_AT_ONCE) });
    },
    round: async (lane) => {
      const { wallMs, cpuMs } = await lane.snapshots([{ n: { $gt: -++opened } }], { aggregate: {} });
      return { value: wallMs, cpuMs };
    },
  });
  return {
    name: "opening a count",
    about: `a live count of ${counted} documents, without an index: from the subscription to its first row, beside the server's own $group`,
    unit: "ms",
    reference: "$group",
    lanes: [lane("limit-group", "$group"), lane("tidewire", "tidewire")],
    targets: [{ lane: "tidewire", against: "$group", atMost: 1.2 }],
  };
};

const ruleOfOwner = [
  {
    name: "owner or shared",
    when: { "%%user.sub": { $exists: true } },
    filter: { $or: [{ owner: "%%user.sub" }, { shared: true }] },
  },
];

const claims = ({ clients, scale }) => ({
  name: "a rule for each user",
  about: `${clients} users, a filter with a claim in it: each change goes to all of them, through as many live queries; deliveries per CPU second`,
  unit: "/s",
  isMoreBetter: true,
  reference: "tidewire",
  lanes: [
    {
      contender: "tidewire",
      parts: { rules: ruleOfOwner },
      open: (lane) =>
        lane.open(
          Array.from({ length: clients }, () => undefined),
          {
            tokens: Array.from({ length: clients }, (_, i) => tokenFor(`user-${i}`)),
            sampleEvery: Number.POSITIVE_INFINITY,
          },
        ),
      round: async (lane) => {
        const measured = await lane.burst({ kind: "shared", count: 500 * scale, size: 100 * scale });
        return { ...measured, value: (measured.deliveries * 1_000) / measured.cpuMs };
      },
    },
  ],
  targets: [{ lane: "tidewire", atLeast: 50_000 }],
});

/** Changes one by one, each for so many of 100 subscribers. */
const latency =
  (receivers) =>
  ({ scale }) => {
    const rooms = 100 / receivers;
    const lane = (contender) => ({
      contender,
      parts: { isTimed: true },
      open: (lane) => lane.open(Array.from({ length: 100 }, (_, i) => ({ room: i % rooms }))),
      round: async (lane) => {
        const count = 600 * scale;
        const measured = await lane.pace({ kind: "room", count, perSecond: 200, of: rooms, receivers });
        return { ...measured, value: measured.lag, cpuShare: (100 * measured.cpuMs) / measured.wallMs };
      },
    });
    return {
      name: receivers === 1 ? "latency" : `latency, ${receivers} receivers`,
      about: `200 writes a second, 100 subscribers, each change for ${receivers === 1 ? "one" : receivers}; value: lag behind a bare stream, p50; others: from the acknowledgement`,
      unit: "ms",
      reference: "limit-route",
      lanes: [lane("limit-route"), lane("diy-single"), lane("socket.io"), lane("tidewire")],
      targets: [{ lane: "tidewire", against: "limit-route", atMost: 1.15 }],
    };
  };

/** The extension as browsers offer it, and the option by which Tidewire accepts it. */
const OFFER = "permessage-deflate; client_max_window_bits";
const SHARED = { compression: "shared" };
const COMPRESSED = "tidewire, compressed once";

const memory = ({ connections }) => {
  const [few, many] = connections;
  const lane = (contender, { name = contender, filters = sameFilters, parts = {}, how = {} } = {}) => ({
    contender,
    name,
    parts: { collectable: true, ...parts },
    open: (lane) => lane.open(filters(few), how),
    round: async (lane) => {
      const before = await lane.memoryKiB();
      await lane.open(filters(many).slice(few), how);
      return { value: ((await lane.memoryKiB()) - before) / (many - few) };
    },
  });
  return {
    name: "memory",
    about: `resident memory of each further idle subscribed connection, between ${few} and ${many}`,
    unit: "KiB",
    reference: "limit-ws",
    isFresh: true,
    roundsMax: 3,
    lanes: [
      lane("limit-ws"),
      lane("socket.io"),
      lane("tidewire"),
      lane("tidewire", { name: "tidewire, a live query each", filters: roomFilters }),
      lane("tidewire", { name: COMPRESSED, parts: { listener: SHARED }, how: { extensions: OFFER } }),
    ],
    targets: [{ lane: "tidewire", atMost: 12 }],
  };
};

/** The first connections of a process, with everything that they make it load, compile and keep. */
const memoryCold = ({ connecting }) => {
  const lane = (contender) => ({
    contender,
    parts: { collectable: true },
    open: () => {},
    round: async (lane) => {
      const before = await lane.memoryKiB();
      await lane.open(sameFilters(connecting));
      return { value: ((await lane.memoryKiB()) - before) / connecting };
    },
  });
  return {
    name: "memory, first connections",
    about: `resident memory of each of the first ${connecting} idle subscribed connections`,
    unit: "KiB",
    reference: "limit-ws",
    isFresh: true,
    roundsMax: 3,
    lanes: [lane("limit-ws"), lane("limit-route"), lane("socket.io"), lane("tidewire")],
    targets: [{ lane: "tidewire", atMost: 12 }],
  };
};

/** A filter each of few, as the pages of one application have. */
const FEW_FILTERS = 8;

const connecting = ({ connecting: count }) => {
  const filters = Array.from({ length: count }, (_, i) => ({ room: i % FEW_FILTERS }));
  const lane = (contender, { name = contender, rest = {}, rules } = {}) => ({
    contender,
    name,
    parts: rules === undefined ? {} : { rules },
    open: () => {},
    round: async (lane) => {
      const { cpuMs, wallMs } = await lane.connect(filters, rest);
      return { value: (cpuMs * 1_000) / count, perSecond: (count * 1_000) / wallMs };
    },
  });
  const tokens = Array.from({ length: count }, (_, i) => tokenFor(`user-${i}`));
  return {
    name: "connecting",
    about: `${count} clients connect to a server that has just started and subscribe, a filter each of ${FEW_FILTERS}; CPU of the server per client`,
    unit: "µs",
    reference: "limit-ws",
    isFresh: true,
    lanes: [
      lane("limit-ws"),
      lane("limit-route"),
      lane("socket.io"),
      lane("tidewire"),
      lane("tidewire", { name: "tidewire, two round trips", rest: { isPatient: true } }),
      lane("tidewire", { name: "tidewire, a token each", rest: { tokens }, rules: ruleOfUsers }),
    ],
    targets: [{ lane: "tidewire", against: "limit-ws", atMost: 1.5 }],
  };
};

const ruleOfUsers = [{ name: "users", when: { "%%user.sub": { $exists: true } } }];

const resume = ({ clients, scale }) => {
  const lane = (contender, { name = contender, hasToken = true } = {}) => ({
    contender,
    name,
    parts: hasToken ? { rules: ruleOfUsers } : {},
    open: (lane) =>
      lane.open(
        sameFilters(clients).map((filter) => ({ ...filter })),
        {
          tokens: hasToken ? Array.from({ length: clients }, (_, i) => tokenFor(`user-${i}`)) : [],
          followsCursor: true,
        },
      ),
    round: async (lane) => {
      const measured = await lane.resume({ kind: "fan", changes: 100 * scale });
      return { ...measured, value: (measured.cpuMs * 1_000) / clients };
    },
  });
  return {
    name: "resumption",
    about: `${clients} clients drop, miss 100 changes each, and come back where they were; CPU of the server per client`,
    unit: "µs",
    reference: "limit-ws",
    lanes: [
      lane("limit-ws"),
      lane("tidewire"),
      lane("tidewire", { name: "tidewire, anonymous", hasToken: false }),
    ],
    targets: [{ lane: "tidewire", against: "limit-ws", atMost: 1.3 }],
  };
};

/** Lanes with and without compression, of Tidewire and of the library that it builds on. */
const compressionLanes = (lane) => [
  lane("limit-ws", "limit-ws"),
  lane("limit-ws", "limit-ws, compressed for each", { watches: { isCompressed: true } }),
  lane("tidewire", "tidewire"),
  lane("tidewire", COMPRESSED, { listener: SHARED }),
];

/** Opens a lane whose clients offer compression if its name says so. */
const openCompressed = (clients, name) => (lane) =>
  lane.open(sameFilters(clients), {
    sampleEvery: Number.POSITIVE_INFINITY,
    ...(name.includes("compressed") ? { extensions: OFFER } : {}),
  });

const compression = ({ clients, scale }) => ({
  name: "compression",
  about: `${clients} subscribers of one live query, 25 changes of 2 KiB a second; CPU of the server per delivery`,
  unit: "µs",
  reference: "limit-ws",
  lanes: compressionLanes((contender, name, parts = {}) => ({
    contender,
    name,
    parts: { ...parts, watches: { ...parts.watches, proseBytes: 2_000 } },
    open: openCompressed(clients, name),
    round: async (lane) => {
      const before = await lane.readBytes();
      const measured = await lane.pace({ kind: "prose", count: 50 * scale, perSecond: 25 });
      const bytes = (await lane.readBytes()) - before;
      return { ...measured, value: perDelivery(measured), bytesEach: bytes / measured.deliveries };
    },
  })),
  targets: [{ lane: COMPRESSED, against: "tidewire", atMost: 1 }],
});

/** Changes shorter than `compressionMinBytes` are sent as they are; the last lane compresses them nevertheless. */
const compressionInBursts = ({ clients, scale }) => {
  const small = { listener: { ...SHARED, compressionMinBytes: "64B" } };
  const lane = (contender, name, parts = {}) => ({
    contender,
    name,
    parts: { ...parts, watches: { ...parts.watches, proseBytes: 240 } },
    open: openCompressed(clients, name),
    round: async (lane) => {
      const size = (contender === "tidewire" ? 100 : 20) * scale;
      const before = await lane.readBytes();
      const measured = await lane.burst({ kind: "short prose", count: 5 * size, size });
      const bytes = (await lane.readBytes()) - before;
      return { ...measured, value: perDelivery(measured), bytesEach: bytes / measured.deliveries };
    },
  });
  return {
    name: "compression in bursts",
    about: `${clients} subscribers of one live query, changes of 300 bytes in bursts; CPU of the server per delivery`,
    unit: "µs",
    reference: "limit-ws",
    lanes: [...compressionLanes(lane), lane("tidewire", `${COMPRESSED} from 64 B`, small)],
    targets: [{ lane: COMPRESSED, against: "tidewire", atMost: 1.1 }],
  };
};

const SNAPSHOT_DOCUMENTS = 10_000;

const compressedSnapshots = ({ scale }) => {
  const count = SNAPSHOT_DOCUMENTS * scale;
  const readers = 20;
  const lane = (name, listener, rest = {}) => ({
    contender: "tidewire",
    name,
    parts: { listener },
    open: (lane) => lane.fill({ kind: "short prose", count }),
    round: async (lane) => {
      const before = await lane.readBytes();
      const measured = await lane.snapshots(sameSnapshots(readers), rest);
      const bytes = (await lane.readBytes()) - before;
      return { ...measured, value: measured.cpuMs / readers, bytesEach: bytes / readers };
    },
  });
  return {
    name: "compression of snapshots",
    about: `${readers} clients ask for the same snapshot of ${count} documents at once; CPU of the server per client`,
    unit: "ms",
    reference: "tidewire",
    lanes: [lane("tidewire", {}), lane(COMPRESSED, SHARED, { extensions: OFFER })],
    targets: [],
  };
};

const sameSnapshots = (count) => Array.from({ length: count }, () => ({}));

const journal = ({ scale }) => {
  const lane = (name, writer) => ({
    contender: "limit-stream-raw",
    name,
    parts: { writer, watches: { isTimed: true } },
    open: () => {},
    round: async (lane) => {
      const measured = await lane.pace({ kind: "fan", count: 60 * scale, perSecond: 20, of: 1 });
      return { ...measured, value: measured.p50 };
    },
  });
  return {
    name: "journal",
    about: "a bare stream, 20 writes a second: time from the acknowledgement until the change is available",
    unit: "ms",
    reference: "w: majority",
    // Each sets the interval for all: only one may run at a time.
    isFresh: true,
    roundsMax: 3,
    lanes: [
      lane("w: majority", { w: "majority" }),
      lane("w: 1", { w: 1 }),
      lane("w: 1, journal every 10 ms", { w: 1, journalMs: 10 }),
    ],
    targets: [],
  };
};

const images = ({ clients, scale }) => {
  const lane = (mode) => ({
    contender: "tidewire",
    name: `images: ${mode}`,
    parts: { writer: { updates: true }, mongodb: { images: mode } },
    open: (lane) => lane.open(roomFilters(clients)),
    round: async (lane) => {
      const measured = await lane.burst({ kind: "room", count: 1_000 * scale, size: 100 * scale });
      return { ...measured, value: perChange(measured) };
    },
  });
  return {
    name: "images",
    about: `${clients} documents, each with a live query of its own, are updated; CPU of the server per change`,
    unit: "µs",
    reference: "images: auto",
    lanes: [lane("auto"), lane("off")],
    targets: [],
  };
};

const FULL = {
  clients: 1_000,
  queries: 5_000,
  inProcess: [100, 5_000, 50_000],
  counters: 10_000,
  counted: 1_000_000,
  windows: [100, 10_000],
  connections: [1_000, 4_000],
  connecting: 5_000,
  scale: 1,
};
const QUICK = {
  clients: 20,
  queries: 60,
  inProcess: [10, 50, 100],
  counters: 100,
  counted: 1_000,
  windows: [10, 100],
  connections: [10, 30],
  connecting: 20,
  scale: 0.1,
};

export function scenarios(isQuick) {
  const size = isQuick ? QUICK : FULL;
  return [
    fanOutInBursts,
    fanOutPaced,
    selective,
    growth,
    sorted,
    counts,
    openingCount,
    claims,
    latency(1),
    latency(10),
    latency(100),
    memory,
    memoryCold,
    connecting,
    resume,
    compression,
    compressionInBursts,
    compressedSnapshots,
    journal,
    images,
  ].map((make) => make(size));
}
