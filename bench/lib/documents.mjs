/**
 * The writes and subscriptions of each scenario: documents of about 300 bytes, and for each the number
 * of live queries that it matches.
 */

/** Fills a document up to 300 bytes of BSON. */
const PAD = "x".repeat(300);
const BYTES = 300;

/** Words as they occur in documents: most are common, and some occur once. */
const WORDS = Array.from({ length: 500 }, (_, i) => (i * 2_654_435_761).toString(36).slice(0, 2 + (i % 7)));

/** A text of words that compresses about as well as text of people does. */
export function proseOf(bytes) {
  let text = "";
  while (text.length < bytes) text += `${WORDS[Math.floor(WORDS.length * Math.random() ** 2)]} `;
  return text.slice(0, bytes);
}

const pick = (count) => Math.floor(Math.random() * count);

function padded(fields, bytesOfFields) {
  return { ...fields, text: PAD.slice(0, Math.max(0, BYTES - bytesOfFields)) };
}

/** Each document is of one room, one room after the other; each room is followed by one live query. */
function roomDocuments(count, rooms, from) {
  return Array.from({ length: count }, (_, i) => ({
    document: padded({ n: from + i, room: (from + i) % rooms }, 60),
    matches: 1,
  }));
}

const SHAPES = 6;
/** As many more places than live queries of a shape: most documents match one or two live queries. */
const SPREAD = 6;
const RANGE = 10;
const REGIONS = 10;
const MATCHES_MAX = 5;

/** 5,000 live queries of six shapes; `i` counts within a shape. */
export function mixedFilters(count) {
  return Array.from({ length: count }, (_, at) => {
    const i = Math.floor(at / SHAPES);
    switch (at % SHAPES) {
      case 0:
        return { room: i };
      case 1:
        return { seat: { $in: [i, `s${i}`] } };
      case 2:
        return { price: { $gte: i * RANGE, $lt: (i + 1) * RANGE } };
      case 3:
        return { $and: [{ region: i % REGIONS }, { weight: { $gt: i * RANGE, $lte: (i + 1) * RANGE } }] };
      case 4:
        return { $or: [{ owner: i }, { deputy: i }] };
      default:
        return { tags: `t${i}` };
    }
  });
}

function mixedDocument(n, queries) {
  const places = Math.floor(queries / SHAPES) * SPREAD;
  const [room, seat, priceAt, weightAt, owner, deputy, tagA, tagB] = Array.from({ length: 8 }, () =>
    pick(places),
  );
  const region = pick(REGIONS);
  /** Of some shapes there is one live query more. */
  const hits = (place, shape) => (place * SHAPES + shape < queries ? 1 : 0);
  const matches =
    hits(room, 0) +
    hits(seat, 1) +
    hits(priceAt, 2) +
    (weightAt % REGIONS === region ? hits(weightAt, 3) : 0) +
    hits(owner, 4) +
    (owner === deputy ? 0 : hits(deputy, 4)) +
    hits(tagA, 5) +
    (tagA === tagB ? 0 : hits(tagB, 5));
  const document = padded(
    {
      n,
      room,
      seat,
      price: priceAt * RANGE + 1 + pick(RANGE - 1),
      region,
      weight: weightAt * RANGE + 1 + pick(RANGE - 1),
      owner,
      deputy,
      tags: [`t${tagA}`, `t${tagB}`],
    },
    190,
  );
  return { document, matches };
}

function mixedDocuments(count, queries, from) {
  const found = [];
  while (found.length < count) {
    const next = mixedDocument(from + found.length, queries);
    if (next.matches > 0 && next.matches <= MATCHES_MAX) found.push(next);
  }
  return found;
}

/** All see it: `fan` by the one live query that they share, `shared` each by a live query of their own. */
function documentsForAll(count, clients, from, fields, bytesOfFields) {
  return Array.from({ length: count }, (_, i) => ({
    document: padded({ n: from + i, ...fields }, bytesOfFields),
    matches: clients,
  }));
}

function proseDocuments(count, clients, from, bytes) {
  return Array.from({ length: count }, (_, i) => ({
    document: { n: from + i, room: 0, text: proseOf(bytes) },
    matches: clients,
  }));
}

/** @param of How many rooms, live queries or clients there are. */
export function documentsOf(kind, count, of, from) {
  switch (kind) {
    case "mixed":
      return mixedDocuments(count, of, from);
    case "fan":
      return documentsForAll(count, of, from, { room: 0 }, 60);
    case "prose":
      return proseDocuments(count, of, from, 2_000);
    case "short prose":
      return proseDocuments(count, of, from, 240);
    case "shared":
      return documentsForAll(count, of, from, { owner: "nobody", shared: true }, 85);
    default:
      return roomDocuments(count, of, from);
  }
}
