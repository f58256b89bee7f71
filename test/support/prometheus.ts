/** A Prometheus of its own, with the rules of config/prometheus, that scrapes one admin listener each second. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import { ROOT } from "./build.ts";
import { endWithUs, exited } from "./guard.ts";
import { installed } from "./installed.ts";
import { freePort } from "./mongod.ts";

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

export interface Prometheus {
  /** The answer to an expression at this moment. Throws if Prometheus refuses it. */
  query(expression: string): Promise<readonly Sample[]>;
}

const ATTEMPTS = 5;
const PATIENCE = { timeout: 60_000, interval: 50 };

/** @param target `HOST:PORT` of the admin listener. */
export async function startPrometheus(target: string): Promise<Prometheus> {
  const program = installed("prometheus");
  assert(program !== undefined, "prometheus is not installed");
  const directory = await mkdtemp(join(tmpdir(), "tidewire-prometheus-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const folder = join(ROOT, "config", "prometheus");
  const config = {
    global: { scrape_interval: "1s", evaluation_interval: "1s" },
    rule_files: [join(folder, "rules.yml"), join(folder, "alerts.yml")],
    scrape_configs: [{ job_name: "tidewire", static_configs: [{ targets: [target] }] }],
  };
  const file = join(directory, "prometheus.yml");
  await writeFile(file, JSON.stringify(config));
  // It cannot be given port 0, so a free one is looked for, and another one if it was taken meanwhile.
  for (let attempt = 1; ; attempt++) {
    const address = `127.0.0.1:${await freePort()}`;
    const args = [`--config.file=${file}`, `--storage.tsdb.path=${directory}/data`];
    const child = spawn(program, [...args, `--web.listen-address=${address}`], { stdio: "ignore" });
    endWithUs(child, directory);
    onTestFinished(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await exited(child);
    });
    const isReady = async () =>
      child.exitCode !== null || (await fetch(`http://${address}/-/ready`).catch(() => null))?.ok === true;
    await expect.poll(isReady, PATIENCE).toBe(true);
    if (child.exitCode === null) return { query: (expression) => ask(address, expression) };
    assert(attempt < ATTEMPTS, `prometheus exits with ${child.exitCode}`);
  }
}

async function ask(address: string, expression: string): Promise<readonly Sample[]> {
  const url = `http://${address}/api/v1/query?${new URLSearchParams({ query: expression })}`;
  // The form of an answer is that of Prometheus' HTTP API.
  const answer = (await (await fetch(url)).json()) as {
    status: string;
    error?: string;
    data: { result: Sample[] };
  };
  if (answer.status !== "success") throw new Error(`${expression}: ${answer.error}`);
  return answer.data.result;
}
