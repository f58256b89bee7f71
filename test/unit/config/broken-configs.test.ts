// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
import { describe, expect, test } from "vitest";
import { parseConfig } from "../../../src/config/config.ts";

const SECRET = "s3cret-that-nobody-may-ever-read-in-a-log";
const env = { SECRET, EMPTY: "" };

const MONGODB = "mongodb: { database: shop }";
const AUTH = "auth: { jwt: { algorithms: [HS256], secret: '${SECRET}' } }";
const COLLECTIONS = "collections: { orders: { rules: [{ name: all }] } }";

/** A whole file in which one part is replaced, so that every other part is right. */
const withMongodb = (text: string) => `${AUTH}\n${COLLECTIONS}\nmongodb: ${text}\n`;
const withAuth = (text: string) => `${MONGODB}\n${COLLECTIONS}\nauth: ${text}\n`;
const withJwt = (text: string) => withAuth(`{ jwt: ${text} }`);
const withServer = (text: string) => `${MONGODB}\n${AUTH}\n${COLLECTIONS}\nserver: ${text}\n`;
const withLimits = (text: string) => `${MONGODB}\n${AUTH}\n${COLLECTIONS}\nlimits: ${text}\n`;
const withCollections = (text: string) => `${MONGODB}\n${AUTH}\ncollections: ${text}\n`;
const withPush = (text: string) => `${MONGODB}\n${AUTH}\n${COLLECTIONS}\npush: ${text}\n`;
const withMixed = (text: string) =>
  `mongodb: { database: s, stateDatabase: s }\n${AUTH}\ncollections: ${text}\n`;
const withRule = (text: string) => withCollections(`{ orders: { rules: [{ name: r, ${text} }] } }`);

/** name, file, place (`line:column path`), what the text must say of the remedy. */
const BROKEN: readonly (readonly [string, string, string, RegExp])[] = [
  // A secret in the place of the section that holds it.
  [
    "a connection string as a section",
    `${AUTH}\n${COLLECTIONS}\nmongodb: "mongodb://u:${SECRET}@h"\n`,
    "3:10 mongodb",
    /found a string that is not shown here; allowed: a map/,
  ],
  [
    "an admin's secret without its entry",
    withServer(`{ admin: { tokens: ["${SECRET}"] } }`),
    "4:29 server.admin.tokens[0]",
    /found a string that is not shown here/,
  ],
  [
    "a secret as the section of tokens",
    withAuth(`{ jwt: ${SECRET} }`),
    "3:14 auth.jwt",
    /found a string that is not shown here/,
  ],
  [
    "a key as a section",
    withPush(`{ vapid: ${SECRET} }`),
    "4:16 push.vapid",
    /found a string that is not shown here/,
  ],
  [
    "the address of a webhook as its section",
    `${MONGODB}\n${AUTH}\n${COLLECTIONS}\nsinks: { a: { collection: orders, to: { webhook: "https://h/${SECRET}" } } }\n`,
    "4:50 sinks.a.to.webhook",
    /found a string that is not shown here/,
  ],
  // The keys of clients at the admin listener.
  [
    "the keys of clients for admins",
    withServer(
      "{ admin: { jwt: { algorithms: [HS256], secret: '${SECRET}', audience: admin, when: { view: { '%%user.a': 1 } } } } }",
    ),
    "4:25 server.admin.jwt",
    /auth\.jwt trusts the same keys.*Set audience in both/,
  ],
  // The file as a whole.
  ["an empty file", "", "1:1 ", /empty.*Write at least mongodb/],
  ["a file of comments", "# nothing\n", "1:1 ", /empty/],
  ["a file that is a text", "hello", "1:1 ", /found "hello"; allowed: a map of mongodb/],
  ["a file that is a list", "- a", "1:1 ", /allowed: a map/],
  ["a tab in the indentation", `${MONGODB}\nserver:\n\tport: 1\n`, "3:1 ", /tab.*spaces only/],
  ["a key that occurs twice", `${MONGODB}\n${MONGODB}\n`, "2:1 ", /occurs twice.*remove one/],
  ["two documents", `${MONGODB}\n---\n${AUTH}\n`, "2:1 ", /more than one document.*keep one/],
  ["an open bracket", "mongodb: { database: shop", "1:26 ", /a bracket above is not closed; close it/],
  ["a bare alias", `mongodb: { database: shop, uri: *abc }`, "1:33 mongodb.uri", /alias.*quotes/],
  ["a tag", `mongodb: !!js/function "x"`, "1:10 ", /tag.*remove it/],
  [
    "a section that is misspelt",
    `${MONGODB}\n${AUTH}\n${COLLECTIONS}\nlimts: {}\n`,
    "4:1 limts",
    /Did you mean "limits"\?/,
  ],
  [
    "an unknown section",
    `${MONGODB}\n${AUTH}\n${COLLECTIONS}\nfoo: {}\n`,
    "4:1 foo",
    /Remove it\. Allowed here: mongodb/,
  ],
  ["no mongodb", `${AUTH}\n${COLLECTIONS}\n`, "1:1 mongodb", /missing: a map of uri, database/],
  ["no auth", `${MONGODB}\n${COLLECTIONS}\n`, "1:1 auth", /missing: a map of jwt/],
  ["no collections", `${MONGODB}\n${AUTH}\n`, "1:1 collections", /missing/],
  ["an endless nesting", `a: ${"[".repeat(80)}${"]".repeat(80)}`, "1:68 a", /64 levels/],
  // push.
  [
    "texts for a misspelt collection",
    withPush("{ templates: { ordrs: { title: x } } }"),
    "4:29 push.templates.ordrs",
    /found ordrs; allowed: a name under collections \(orders\)/,
  ],
  [
    "a template with braces that are no placeholder",
    withPush("{ templates: { orders: { title: '{{a b}}' } } }"),
    "4:39 push.templates.orders.title",
    /braces that are no placeholder; allowed: \{\{path\}\}/,
  ],
  [
    "a VAPID key that is none",
    withPush("{ vapid: { subject: 'mailto:a@b.c', publicKey: abc, privateKey: '${SECRET}' } }"),
    "4:54 push.vapid.publicKey",
    /not a public key of P-256.*vapid-keys/,
  ],
  [
    "a VAPID subject that nobody can reach",
    withPush("{ vapid: { subject: ops, publicKey: abc, privateKey: '${SECRET}' } }"),
    "4:27 push.vapid.subject",
    /allowed: a mailto: or https: address/,
  ],
  // Environment variables.
  [
    "an unset variable",
    withMongodb("{ database: '${NOPE}' }"),
    "3:22 mongodb.database",
    /NOPE is not set; set it, in .env for example, or give a default: \$\{NOPE:-…\}/,
  ],
  [
    "a variable of no name",
    withMongodb("{ database: '${1x}' }"),
    "3:22 mongodb.database",
    /write \$\$\{ where a literal/,
  ],
  [
    "a variable without its end",
    withMongodb("{ database: '${SECRET' }"),
    "3:22 mongodb.database",
    /not \$\{NAME\}/,
  ],
  [
    "a variable for a number",
    withServer("{ port: '${SECRET}' }"),
    "4:17 server.port",
    /variables fill texts only; write it out/,
  ],
  // mongodb.
  ["no database", withMongodb("{}"), "3:1 mongodb.database", /missing.*`database: shop`/],
  [
    "a number for a name",
    withMongodb("{ database: 7 }"),
    "3:22 mongodb.database",
    /found 7; allowed: a string.*`database: shop`/,
  ],
  ["a database with a dot", withMongodb("{ database: a.b }"), "3:22 mongodb.database", /without any of/],
  ["the admin database", withMongodb("{ database: admin }"), "3:22 mongodb.database", /database of your own/],
  [
    "another scheme",
    withMongodb("{ database: s, uri: 'http://x' }"),
    "3:30 mongodb.uri",
    /mongodb:\/\/… .*embedded/,
  ],
  [
    "a misspelt mode",
    withMongodb("{ database: s, images: requird }"),
    "3:33 mongodb.images",
    /did you mean required\?/,
  ],
  [
    "a misspelt option",
    withMongodb("{ database: s, datadir: x }"),
    "3:25 mongodb.datadir",
    /Did you mean "dataDir"\?/,
  ],
  [
    "a collection that is the service's own",
    withMixed("{ o: { collection: tidewire.keys, rules: [{ name: r }] } }"),
    "3:33 collections.o.collection",
    /allowed: a name that does not begin with tidewire\./,
  ],
  [
    "a collection that is the service's own, by its key",
    withMixed("{ tidewire.keys: { rules: [{ name: r }] } }"),
    `3:31 collections["tidewire.keys"]`,
    /allowed: a name that does not begin with tidewire\./,
  ],
  [
    "a lookup in a collection that is the service's own",
    withMixed(
      "{ o: { lookups: { l: { collection: tidewire.keys, filter: {a: 1}, value: b } }, rules: [{ name: r }] } }",
    ),
    "3:49 collections.o.lookups.l.collection",
    /allowed: a name that does not begin with tidewire\./,
  ],
  [
    "a lookup in the state database",
    withCollections(
      "{ o: { lookups: { l: { database: tidewire, collection: c, filter: {a: 1}, value: b } }, rules: [{ name: r }] } }",
    ),
    "3:47 collections.o.lookups.l.database",
    /allowed: another database, as the service keeps its keys/,
  ],
  // Units.
  [
    "a duration without its unit",
    withServer("{ heartbeat: 25 }"),
    "4:22 server.heartbeat",
    /found 25; allowed: a duration.*`heartbeat: 25s`/,
  ],
  [
    "a duration as a text without unit",
    withServer("{ heartbeat: '25' }"),
    "4:22 server.heartbeat",
    /`heartbeat: 25s`/,
  ],
  [
    "a fraction of a duration",
    withServer("{ heartbeat: 1.5s }"),
    "4:22 server.heartbeat",
    /whole ms, s, m, h or d/,
  ],
  ["a duration in words", withServer("{ heartbeat: 10sec }"), "4:22 server.heartbeat", /`heartbeat: 10s`/],
  [
    "a duration that is too short",
    withServer("{ heartbeat: 10ms }"),
    "4:22 server.heartbeat",
    /from 1s to 5m/,
  ],
  [
    "a duration of the code",
    withServer("{ heartbeatMs: 25000 }"),
    "4:11 server.heartbeatMs",
    /Did you mean "heartbeat"\?/,
  ],
  [
    "a size without its unit",
    withLimits("{ messageBytes: 65536 }"),
    "4:25 limits.messageBytes",
    /size.*`messageBytes: 65536B`/,
  ],
  [
    "a size in KB",
    withLimits("{ messageBytes: 64KB }"),
    "4:25 limits.messageBytes",
    /powers of 1024.*`messageBytes: 64KiB`/,
  ],
  [
    "a negative size",
    withLimits("{ messageBytes: -1B }"),
    "4:25 limits.messageBytes",
    /`messageBytes: 1MiB`/,
  ],
  [
    "a history without room",
    `${MONGODB}\n${AUTH}\n${COLLECTIONS}\nhistory: { bytes: 1KiB }\n`,
    "4:19 history.bytes",
    /at least 1MiB/,
  ],
  [
    "cursors that move in parts of a second",
    `${MONGODB}\n${AUTH}\n${COLLECTIONS}\nhistory: { cursorStep: 1500ms }\n`,
    "4:24 history.cursorStep",
    /cursorStep/,
  ],
  [
    "a time of the rules that moves more often than each second",
    `${MONGODB}\n${AUTH}\n${COLLECTIONS}\nrules: { nowStep: 999ms }\n`,
    "4:19 rules.nowStep",
    /from 1s to 1d/,
  ],
  // server and limits.
  ["a port beyond 65535", withServer("{ port: 70000 }"), "4:17 server.port", /from 0 to 65535.*`port: 8480`/],
  [
    "a port as a text",
    withServer("{ port: '80' }"),
    "4:17 server.port",
    /found "80"; allowed: a whole number/,
  ],
  [
    "one port for both",
    withServer("{ port: 9000, admin: { port: 9000 } }"),
    "4:38 server.admin.port",
    /another port.*Choose a free one/,
  ],
  [
    "an origin with a path",
    withServer("{ origins: ['https://a.b/c'] }"),
    "4:21 server.origins[0]",
    /scheme:\/\/host/,
  ],
  ["one origin alone", withServer("{ origins: '*' }"), "4:20 server.origins", /allowed: a list/],
  [
    "a proxy that is a name",
    withServer("{ trustedProxies: [proxy] }"),
    "4:28 server.trustedProxies[0]",
    /IP address or CIDR/,
  ],
  [
    "a CIDR beyond its bits",
    withServer("{ trustedProxies: [10.0.0.0/33] }"),
    "4:28 server.trustedProxies[0]",
    /CIDR/,
  ],
  ["half of TLS", withServer("{ tls: { cert: a.pem } }"), "4:11 server.tls.key", /missing.*`key: /],
  [
    "a back-off that shrinks",
    withServer("{ reconnect: { min: 10s, max: 1s } }"),
    "4:39 server.reconnect.max",
    /Raise max or lower min/,
  ],
  [
    "a limit of nothing",
    withLimits("{ subscriptions: 0 }"),
    "4:26 limits.subscriptions",
    /from 1 to 100000.*`subscriptions: 100`/,
  ],
  ["half a connection", withLimits("{ connections: 1.5 }"), "4:24 limits.connections", /whole number/],
  ["a rate of nothing", withLimits("{ requestsPerSecond: 0 }"), "4:30 limits.requestsPerSecond", /above 0/],
  [
    "a section without a value",
    `${MONGODB}\n${AUTH}\n${COLLECTIONS}\nlimits:\n`,
    "4:8 limits",
    /found an empty value; allowed: a map/,
  ],
  // auth.
  ["nobody may connect", withAuth("{}"), "3:7 auth", /nobody could connect.*Add a jwt section/],
  [
    "a truth in words",
    withAuth("{ anonymous: yes }"),
    "3:20 auth.anonymous",
    /found "yes"; allowed: true or false.*`anonymous: false`/,
  ],
  ["no algorithms", withJwt("{ secret: '${SECRET}' }"), "3:9 auth.jwt.algorithms", /missing.*algorithms/],
  [
    "an empty list of algorithms",
    withJwt("{ algorithms: [], secret: '${SECRET}' }"),
    "3:28 auth.jwt.algorithms",
    /list that is not empty/,
  ],
  [
    "the algorithm none",
    withJwt("{ algorithms: [none], secret: '${SECRET}' }"),
    "3:29 auth.jwt.algorithms[0]",
    /one of HS256/,
  ],
  [
    "HS256 beside RS256",
    withJwt("{ algorithms: [HS256, RS256], secret: '${SECRET}' }"),
    "3:28 auth.jwt.algorithms",
    /never both/,
  ],
  ["no key", withJwt("{ algorithms: [HS256] }"), "3:28 auth.jwt.algorithms", /Add secret: /],
  [
    "no asymmetric key",
    withJwt("{ algorithms: [RS256] }"),
    "3:28 auth.jwt.algorithms",
    /Add publicKey.*jwksUri/,
  ],
  [
    "two sources of keys",
    withJwt("{ algorithms: [RS256], publicKey: a, jwksUri: 'https://a.b/c' }"),
    "3:60 auth.jwt.jwksUri",
    /Remove all but one/,
  ],
  [
    "a secret for RS256",
    withJwt("{ algorithms: [RS256], secret: '${SECRET}' }"),
    "3:45 auth.jwt.secret",
    /instead of secret/,
  ],
  [
    "a public key for HS256",
    withJwt("{ algorithms: [HS256], publicKey: a.pem }"),
    "3:48 auth.jwt.publicKey",
    /instead of publicKey/,
  ],
  [
    "one key for two families",
    withJwt("{ algorithms: [RS256, PS256], publicKey: a.pem }"),
    "3:28 auth.jwt.algorithms",
    /Keep the key's own/,
  ],
  [
    "a short secret",
    withJwt("{ algorithms: [HS256], secret: 'hunter2' }"),
    "3:45 auth.jwt.secret",
    /at least 32 bytes.*this has 7.*openssl rand/,
  ],
  [
    "a secret too short for HS512",
    withJwt(`{ algorithms: [HS512], secret: '${"x".repeat(63)}' }`),
    "3:45 auth.jwt.secret",
    /at least 64 bytes/,
  ],
  [
    "a PEM key as a secret",
    withJwt('{ algorithms: [HS256], secret: "-----BEGIN PUBLIC KEY-----\\nMIIBIjANBgkqhkiG" }'),
    "3:45 auth.jwt.secret",
    /not a key as PEM/,
  ],
  [
    "a JWK as a secret",
    withJwt(`{ algorithms: [HS256], secret: '{"kty":"oct","k":"c2VjcmV0c2VjcmV0"}' }`),
    "3:45 auth.jwt.secret",
    /not a key as PEM or JWK/,
  ],
  [
    "keys over http",
    withJwt("{ algorithms: [RS256], jwksUri: 'http://a.b/c' }"),
    "3:46 auth.jwt.jwksUri",
    /Use https/,
  ],
  [
    "keys from no URL",
    withJwt("{ algorithms: [RS256], jwksUri: keys.json }"),
    "3:46 auth.jwt.jwksUri",
    /Write for example jwksUri: https/,
  ],
  [
    "a login in the keys' URL",
    withJwt("{ algorithms: [RS256], jwksUri: 'https://u:hunter2@a.b/c' }"),
    "3:46 auth.jwt.jwksUri",
    /without user and password.*Remove them/,
  ],
  [
    "a list of issuers with an entry that names none",
    withJwt(
      "[{ algorithms: [HS256], secret: '${SECRET}', issuer: a }, { algorithms: [HS256], secret: '${SECRET}' }]",
    ),
    "3:72 auth.jwt[1]",
    /Add issuer/,
  ],
  [
    "one issuer in two entries",
    withJwt(
      "[{ algorithms: [HS256], secret: '${SECRET}', issuer: a }, { algorithms: [HS256], secret: '${SECRET}', issuer: a }]",
    ),
    "3:124 auth.jwt[1].issuer",
    /one entry only/,
  ],
  [
    "a short secret in a list, which is not shown",
    withJwt("[{ algorithms: [HS256], secret: 'tooshortasecret', issuer: a }]"),
    "3:46 auth.jwt[0].secret",
    /found a string that is not shown here.*at least 32 bytes/,
  ],
  [
    "a secret of a sink, which is not shown",
    `${withPush("{}")}sinks: { s: { collection: orders, to: { webhook: { url: "https://x.example", secret: whsec_short } } } }\n`,
    "5:86 sinks.s.to.webhook.secret",
    /found a string that is not shown here.*whsec_/,
  ],
  [
    "a URL of a sink with a password, which is not shown",
    `${withPush("{}")}sinks: { s: { collection: orders, to: { webhook: { url: "https://a:b@x.example" } } } }\n`,
    "5:57 sinks.s.to.webhook.url",
    /found a string that is not shown here/,
  ],
  [
    "an unknown option in an entry",
    withJwt("[{ algorithms: [HS256], secret: '${SECRET}', isuer: a }]"),
    "3:59 auth.jwt[0].isuer",
    /Did you mean "issuer"/,
  ],
  [
    "an issuer that is a number",
    withJwt("{ algorithms: [HS256], secret: '${SECRET}', issuer: 5 }"),
    "3:66 auth.jwt.issuer",
    /a string, or a list of strings/,
  ],
  // collections and rules.
  ["no collection at all", withCollections("{}"), "3:14 collections", /at least one collection\. Add one/],
  [
    "a collection without rules",
    withCollections("{ orders: {} }"),
    "3:16 collections.orders.rules",
    /missing.*`rules: /,
  ],
  [
    "a collection without a value",
    withCollections("{ orders: }"),
    "3:24 collections.orders",
    /allowed: a map of database/,
  ],
  [
    "a system database",
    withCollections("{ o: { database: config, rules: [{ name: r }] } }"),
    "3:31 collections.o.database",
    /database of your own/,
  ],
  [
    "the state database",
    withCollections("{ o: { database: tidewire, rules: [{ name: r }] } }"),
    "3:31 collections.o.database",
    /allowed: another database, as the service keeps its keys/,
  ],
  [
    "a system collection",
    withCollections("{ o: { collection: system.users, rules: [{ name: r }] } }"),
    "3:33 collections.o.collection",
    /not one of system/,
  ],
  [
    "a lookup without a value",
    withCollections("{ o: { lookups: { r: { collection: m, filter: {} } }, rules: [{ name: r }] } }"),
    "3:32 collections.o.lookups.r.value",
    /value/,
  ],
  [
    "a rule without a name",
    withCollections("{ o: { rules: [{}] } }"),
    "3:29 collections.o.rules[0].name",
    /missing.*`name: customer`/,
  ],
  [
    "two rules of one name",
    withCollections("{ o: { rules: [{ name: r }, { name: r }] } }"),
    "3:50 collections.o.rules[1].name",
    /names are unique/,
  ],
  [
    "a misspelt part of a rule",
    withRule("filtr: {}"),
    "3:45 collections.orders.rules[0].filtr",
    /Did you mean "filter"\?/,
  ],
  [
    "a filter that is a text",
    withRule("filter: all"),
    "3:53 collections.orders.rules[0].filter",
    /allowed: a filter/,
  ],
  [
    "a filter without a value",
    withRule("filter: "),
    "3:54 collections.orders.rules[0].filter",
    /found an empty value/,
  ],
  [
    "an unknown operator",
    withRule("filter: { a: { $gtt: 1 } }"),
    "3:66 collections.orders.rules[0].filter.a",
    /"\$gtt" is not supported/,
  ],
  [
    "$where",
    withRule("filter: { $where: '1' }"),
    '3:63 collections.orders.rules[0].filter["$where"]',
    /"\$where" is not supported/,
  ],
  [
    "a regular expression beyond the subset",
    withRule("filter: { a: { $regex: '(?<=x)y' } }"),
    "3:68 collections.orders.rules[0].filter.a",
    /regular expression/,
  ],
  [
    "an unknown lookup",
    withRule("filter: { a: { $in: '%%lookup.rooms' } }"),
    "3:65 collections.orders.rules[0].filter.a",
    /no lookup of this name, none here. Add it under lookups/,
  ],
  [
    "a claim inside of a text",
    withRule("filter: { a: 'x-%%user.sub' }"),
    "3:58 collections.orders.rules[0].filter.a",
    /Write exactly %%user\.claim/,
  ],
  [
    "a claim of no name",
    withRule("filter: { a: '%%user' }"),
    "3:58 collections.orders.rules[0].filter.a",
    /Write exactly/,
  ],
  [
    "an unknown conversion",
    withRule("filter: { a: '%%int:user.x' }"),
    "3:58 collections.orders.rules[0].filter.a",
    /%%oid:user\.claim/,
  ],
  [
    "a claim deep inside of a value",
    withRule("filter: { a: { b: ['%%user.'] } }"),
    "3:64 collections.orders.rules[0].filter.a.b[0]",
    /Write exactly/,
  ],
  [
    "a claim as a key of a filter",
    withRule("filter: { '%%user.sub': 1 }"),
    "3:69 collections.orders.rules[0].filter",
    /Write claims on the right/,
  ],
  [
    "a path of the document in a when",
    withRule("when: { status: open }"),
    "3:61 collections.orders.rules[0].when.status",
    /claims only.*%%user\.claim/,
  ],
  [
    "a claim on the right of a when",
    withRule("when: { '%%user.a': '%%user.b' }"),
    "3:65 collections.orders.rules[0].when",
    /claims stand on the left/,
  ],
  [
    "%%now on the right of a when",
    withRule("when: { '%%user.a': { $gt: '%%now' } }"),
    "3:72 collections.orders.rules[0].when",
    /claims stand on the left/,
  ],
  [
    "a number that loses digits",
    withRule("filter: { a: 9007199254740993 }"),
    "3:58 collections.orders.rules[0].filter.a",
    /\$numberLong: "9007199254740993"/,
  ],
  [
    "fields that include and exclude",
    withRule("fields: { include: [a], exclude: [b] }"),
    "3:53 collections.orders.rules[0].fields",
    /either include or exclude/,
  ],
  [
    "fields that do neither",
    withRule("fields: {}"),
    "3:53 collections.orders.rules[0].fields",
    /either include or exclude/,
  ],
  [
    "an empty list of fields",
    withRule("fields: { include: [] }"),
    "3:64 collections.orders.rules[0].fields.include",
    /list that is not empty/,
  ],
  [
    "a hidden _id",
    withRule("fields: { exclude: [_id] }"),
    "3:65 collections.orders.rules[0].fields.exclude[0]",
    /always visible\. Remove it/,
  ],
  [
    "a field and a part of it",
    withRule("fields: { exclude: [a, a.b] }"),
    "3:68 collections.orders.rules[0].fields.exclude[1]",
    /Remove it/,
  ],
  [
    "a path with an empty part",
    withRule("fields: { exclude: [a..b] }"),
    "3:65 collections.orders.rules[0].fields.exclude[0]",
    /no empty part/,
  ],
  [
    "a misspelt allowance",
    withRule("allow: { snapshots: true }"),
    "3:54 collections.orders.rules[0].allow.snapshots",
    /Did you mean "snapshot"\?/,
  ],
  [
    "a limit beyond all windows",
    withRule("allow: { maxLimit: 1001 }"),
    "3:64 collections.orders.rules[0].allow.maxLimit",
    /at most limits\.windowSize \(1000\)\. Lower it/,
  ],
  [
    "a sort on a hidden field",
    withRule("fields: { exclude: [m] }, allow: { sort: [m] }"),
    "3:87 collections.orders.rules[0].allow.sort[0]",
    /m is hidden by this rule's fields/,
  ],
];

describe("a broken configuration is refused with its place and its remedy", () => {
  test.each(BROKEN)("%s", (_name, text, place, remedy) => {
    const parsed = parseConfig(text, "t.yaml", env);
    if (parsed.ok) throw new Error("it was taken");
    const places = parsed.problems.map(({ line, column, path }) => `${line}:${column} ${path}`);
    const isThere = (at: string) => at === place || at.startsWith(`${place}[`) || at.startsWith(`${place}.`);
    const texts = parsed.problems.filter((_problem, index) => isThere(places[index] ?? ""));
    expect(texts.length, `reported at ${places.join(" | ")}`).toBeGreaterThan(0);
    expect(texts.map(({ message }) => message).join("\n")).toMatch(remedy);
    expect(texts[0]?.file).toBe("t.yaml");
  });

  test.each(BROKEN)("%s: no text shows a secret", (_name, text) => {
    const parsed = parseConfig(text, "t.yaml", env);
    const told = JSON.stringify(parsed.ok ? [] : parsed.problems);
    expect(told).not.toContain(SECRET);
    expect(told).not.toContain("hunter2");
    expect(told).not.toContain("MIIBIjANBgkqhkiG");
    expect(told).not.toContain("c2VjcmV0");
  });
});

test("there are at least sixty of them", () => expect(BROKEN.length).toBeGreaterThanOrEqual(60));
