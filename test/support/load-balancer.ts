/** nginx and HAProxy themselves, with the files of `config/`; only addresses, ports and certificates are the test's. */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { onTestFinished } from "vitest";
import { ROOT } from "./build.ts";
import { endWithUs, exited } from "./guard.ts";
import { installed } from "./installed.ts";

const run = promisify(execFile);
const START_ATTEMPTS = 5;
const LISTENS_WITHIN_MS = 20_000;
/** In the files it is half a minute, which is good for clients and long for a test. */
const OLD_CONNECTIONS_END_AFTER = "1s";

/** Ports of nodes on 127.0.0.1. */
export type Nodes = readonly [number, number, ...number[]];

interface Ports {
  /** Port 80 of the file. */
  readonly refused: number;
  /** As behind another machine that terminates TLS. */
  readonly plain: number;
  readonly tls: number;
}

export interface Certificate {
  /** As PEM: whom clients are to trust. */
  readonly ca: string;
  readonly certFile: string;
  readonly keyFile: string;
  /** Both in one, as HAProxy wants them. */
  readonly bothFile: string;
}

export interface LoadBalancer {
  /** `http://127.0.0.1:PORT` and `https://127.0.0.1:PORT` */
  readonly refused: string;
  readonly plain: string;
  readonly tls: string;
  /** Reads its file again, as an operator has it done; connections of before end soon after. */
  reload(): void;
}

/** A certificate for 127.0.0.1 that signs itself; without a directory of its own, good until the test is over. */
export async function makeCertificate(
  inDirectory?: string,
  names: readonly string[] = ["IP:127.0.0.1"],
): Promise<Certificate> {
  const directory = inDirectory ?? (await temporaryDirectory());
  const [certFile, keyFile, bothFile] = ["cert.pem", "key.pem", "both.pem"].map((name) =>
    join(directory, name),
  );
  assert(certFile !== undefined && keyFile !== undefined && bothFile !== undefined);
  const what = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];
  const whom = ["-subj", "/CN=tidewire test", "-addext", `subjectAltName=${names.join()}`];
  await run("openssl", ["req", ...what, ...whom, "-keyout", keyFile, "-out", certFile]);
  const ca = await readFile(certFile, "utf8");
  await writeFile(bothFile, ca + (await readFile(keyFile, "utf8")));
  return { ca, certFile, keyFile, bothFile };
}

export async function startNginx(nodes: Nodes, { certFile, keyFile }: Certificate): Promise<LoadBalancer> {
  const directory = await temporaryDirectory();
  const file = join(directory, "nginx.conf");
  const folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  const write = async (ports: Ports) => {
    const site = replaceAll(await readFile(join(ROOT, "config", "nginx.conf"), "utf8"), [
      ["10.0.0.11:8480", `127.0.0.1:${nodes[0]}`],
      ["10.0.0.12:8480", `127.0.0.1:${nodes[1]}`],
      ["listen 80;", `listen 127.0.0.1:${ports.refused};`],
      ["listen 443 ", `listen 127.0.0.1:${ports.plain};\n    listen 127.0.0.1:${ports.tls} `],
      ["/etc/ssl/live.example.com.pem", certFile],
      ["/etc/ssl/live.example.com.key", keyFile],
    ]);
    const lines = [
      ...(process.getuid?.() === 0 ? ["user root;"] : []),
      "daemon off;",
      "error_log stderr;",
      `pid ${directory}/pid;`,
      `worker_shutdown_timeout ${OLD_CONNECTIONS_END_AFTER};`,
      "events { worker_connections 512; }",
      "http {",
      "access_log off;",
      ...folders.map((name) => `${name}_temp_path ${directory}/${name};`),
      site,
      "}",
    ];
    await writeFile(file, lines.join("\n"));
  };
  return start("nginx", ["-e", "stderr", "-c", file], directory, write, "SIGHUP");
}

export async function startHaproxy(nodes: Nodes, { bothFile }: Certificate): Promise<LoadBalancer> {
  const directory = await temporaryDirectory();
  const file = join(directory, "haproxy.cfg");
  const write = async (ports: Ports) => {
    const text = replaceAll(await readFile(join(ROOT, "config", "haproxy.cfg"), "utf8"), [
      ["10.0.0.11:8480", `127.0.0.1:${nodes[0]}`],
      [
        "server node2 10.0.0.12:8480",
        nodes
          .slice(1)
          .map((port, n) => `server node${n + 2} 127.0.0.1:${port}`)
          .join("\n    "),
      ],
      ["bind :80\n", `bind 127.0.0.1:${ports.refused}\n    bind 127.0.0.1:${ports.plain}\n`],
      ["if !{ ssl_fc }", `if !{ ssl_fc } !{ dst_port ${ports.plain} }`],
      ["bind :443 ", `bind 127.0.0.1:${ports.tls} `],
      ["/etc/ssl/live.example.com.pem", bothFile],
      ["hard-stop-after 30s", `hard-stop-after ${OLD_CONNECTIONS_END_AFTER}`],
    ]);
    await writeFile(file, text);
  };
  return start("haproxy", ["-W", "-db", "-f", file], directory, write, "SIGUSR2");
}

/** Neither can be given port 0. So a free one is looked for, and another where somebody else was faster. */
async function start(
  program: string,
  args: readonly string[],
  directory: string,
  write: (ports: Ports) => Promise<void>,
  reloadSignal: NodeJS.Signals,
): Promise<LoadBalancer> {
  const command = installed(program);
  assert(command !== undefined, `${program} is not installed`);
  for (let attempt = 1; ; attempt++) {
    const ports = { refused: await freePort(), plain: await freePort(), tls: await freePort() };
    await write(ports);
    const said: string[] = [];
    const child = spawn(command, args, { detached: true, stdio: ["ignore", "pipe", "pipe"] });
    for (const output of [child.stdout, child.stderr]) output.on("data", (text) => said.push(String(text)));
    endWithUs(child, directory, "group");
    onTestFinished(() => stop(child));
    if (await listens(child, ports)) {
      return {
        refused: `http://127.0.0.1:${ports.refused}`,
        plain: `http://127.0.0.1:${ports.plain}`,
        tls: `https://127.0.0.1:${ports.tls}`,
        reload: () => void child.kill(reloadSignal),
      };
    }
    await stop(child);
    if (attempt === START_ATTEMPTS) throw new Error(`${program} does not start:\n${said.join("")}`);
  }
}

/** With its workers, which are in its group. */
async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  process.kill(-child.pid, "SIGKILL");
  await exited(child);
}

/** `false` where it has ended before it listened. */
async function listens(child: ChildProcess, { refused, plain, tls }: Ports): Promise<boolean> {
  const deadlineMs = Date.now() + LISTENS_WITHIN_MS;
  for (const port of [refused, plain, tls]) {
    while (!(await accepts(port))) {
      if (child.exitCode !== null || Date.now() > deadlineMs) return false;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  return child.exitCode === null;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const done = (does: boolean) => {
      socket.destroy();
      resolve(does);
    };
    socket.once("connect", () => done(true));
    socket.once("error", () => done(false));
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo; // a TCP server has one once it listens
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Each has to be there: a file that has changed must not go untested by half. */
function replaceAll(text: string, replacements: readonly (readonly [string, string])[]): string {
  return replacements.reduce((changed, [from, to]) => {
    assert(changed.includes(from), `${from} is not in the file`);
    return changed.replaceAll(from, to);
  }, text);
}

async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "tidewire-proxy-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}
