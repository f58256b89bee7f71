/**
 * Runs a script of k6 in Node: `node k6-stand-in.mjs SCRIPT`. k6 has a licence that this project does not install, so these
 * stand-ins have the parts of its modules that the script uses. One JSON line reports the metrics and the thresholds.
 */
import { Buffer } from "node:buffer";
import { createHmac } from "node:crypto";
import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { WebSocket as Socket } from "ws";

const metrics = new Map();

class Metric {
  values = [];
  constructor(name) {
    metrics.set(name, this);
  }
  add(value) {
    this.values.push(value);
  }
}

/** The WebSocket of k6 is that of browsers; an error is an event with a text. */
class WebSocket {
  constructor(url, protocols) {
    const socket = new Socket(url, protocols);
    this.socket = socket;
    socket.on("open", () => this.onopen?.({}));
    socket.on("message", (data) => this.onmessage?.({ data: String(data) }));
    socket.on("error", (error) => this.onerror?.({ error: error.message }));
    open.push(new Promise((closed) => socket.on("close", closed)));
  }
  send(text) {
    this.socket.send(text);
  }
  close() {
    this.socket.close();
  }
}

const open = [];
const exec = { vu: { idInTest: 0 } };

globalThis.__ENV = process.env;
globalThis.k6 = {
  "k6/crypto": {
    hmac: (algorithm, secret, data, encoding) => {
      if (encoding !== "base64rawurl") throw new Error(`encoding ${encoding}`);
      return createHmac(algorithm, secret).update(data).digest("base64url");
    },
  },
  "k6/encoding": {
    default: {
      b64encode: (text, encoding) => {
        if (encoding !== "rawurl") throw new Error(`encoding ${encoding}`);
        return Buffer.from(text).toString("base64url");
      },
    },
  },
  "k6/execution": { default: exec },
  "k6/metrics": { Counter: class extends Metric {}, Trend: class extends Metric {} },
  "k6/websockets": { WebSocket },
};

const standIns = {
  name: "k6",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^k6\// }, ({ path }) => ({ path, namespace: "k6" }));
    onLoad({ filter: /.*/, namespace: "k6" }, ({ path }) => {
      const names = Object.keys(globalThis.k6[path] ?? {});
      const lines = names.map((name) =>
        name === "default"
          ? `export default globalThis.k6["${path}"].default;`
          : `export const ${name} = globalThis.k6["${path}"].${name};`,
      );
      return { contents: lines.join("\n") };
    });
  },
};

const { outputFiles } = await build({
  entryPoints: [process.argv[2]],
  bundle: true,
  format: "esm",
  write: false,
  plugins: [standIns],
});
const file = join(tmpdir(), `k6-stand-in-${process.pid}.mjs`);
await writeFile(file, outputFiles[0].text);
const script = await import(pathToFileURL(file).href).finally(() => rm(file));

const { vus, iterations, executor } = Object.values(script.options.scenarios)[0];
if (executor !== "per-vu-iterations" || iterations !== 1) throw new Error(`executor ${executor}`);
for (let id = 1; id <= vus; id++) {
  exec.vu.idInTest = id;
  script.default();
}
await Promise.all(open);

const sum = (values) => values.reduce((all, value) => all + value, 0);
const p99 = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length * 0.99)] ?? 0;

/** Whether a threshold such as `count==0` or `p(99)<500` holds. */
function holds(name, threshold) {
  const [, aggregate, operator, limit] = /^(count|p\(99\))(==|<|>)(\d+)$/.exec(threshold) ?? [];
  if (aggregate === undefined) throw new Error(`threshold ${threshold}`);
  const { values = [] } = metrics.get(name) ?? {};
  const value = aggregate === "count" ? sum(values) : p99(values);
  if (operator === "==") return value === Number(limit);
  return operator === "<" ? value < Number(limit) : value > Number(limit);
}

const crossed = Object.entries(script.options.thresholds)
  .filter(([name, thresholds]) => !thresholds.every((threshold) => holds(name, threshold)))
  .map(([name]) => name);
const counts = Object.fromEntries(
  [...metrics].map(([name, metric]) => [
    name,
    metric.constructor === globalThis.k6["k6/metrics"].Counter ? sum(metric.values) : metric.values.length,
  ]),
);
console.log(JSON.stringify({ counts, crossed }));
process.exitCode = crossed.length === 0 ? 0 : 99;
