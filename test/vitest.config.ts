import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The files that take minutes. One of them that began last would leave the other core without work. */
const LONGEST = [
  "fuzz-transports",
  "chaos/simulation",
  "fault-matrix",
  "sink-brokers",
  "bystander",
  "integration/demo",
  "rights-faults",
  "fleet",
  "kit/own-client",
  "proxies/proxies",
  "integration/bench",
  "kit/wrong-client",
  "rolling-restart",
  "sinks/workers",
  "kit/go-client",
  "presence/nodes",
  "kit/python-client",
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rankOf = ({ moduleId }: TestSpecification) => {
      const rank = LONGEST.findIndex((name) => moduleId.includes(name));
      return rank < 0 ? LONGEST.length : rank;
    };
    return (await super.sort(files)).sort((a, b) => rankOf(a) - rankOf(b));
  }
}

const project = (name: string, options: object = {}) => ({
  extends: true as const,
  test: { name, include: [`test/${name}/**/*.test.ts`], ...options },
});

/**
 * With a mongod for the run, and the built service as users have it: Node loads that by itself, while to transform the sources
 * took longer than many a file. The unit tests start without waiting for either.
 */
const withMongod = {
  globalSetup: ["test/support/global-setup.ts"],
  alias: [
    { find: /^.*\/src\/(.*)\.tsx?$/, replacement: fileURLToPath(new URL("../dist/$1.js", import.meta.url)) },
  ],
  server: { deps: { external: [/\/dist\//] } },
};

/**
 * Workers that keep their modules load each module once instead of once per file. That is two thirds of the time of the unit tests,
 * and a fifth of the others'. The setup file fails a test file that leaves something behind for the next.
 */
const inSharedWorkers = { isolate: false, setupFiles: ["test/support/clean-worker.ts"] };

/**
 * A machine that is shared with others may stop a process for seconds in the middle of a test. In CI such a test runs once
 * more, and `.ci/run` names it. The unit tests wait for nothing, and a fault that a random search finds is a fault even if it does
 * not happen again, so those suites have no second try; nor has any suite outside CI.
 */
const withSecondTry = { ...withMongod, retry: process.env["CI"] === "true" ? 1 : 0 };

/** These suites use both cores, and measure times. */
const busy = { ...withMongod, testTimeout: 1_200_000 };

/** These suites wait for processes and sockets, so a third file at a time saves that. With more, tests find the machine too busy. */
const waiting = {
  ...withSecondTry,
  ...inSharedWorkers,
  pool: "forks",
  maxWorkers: 3,
  sequence: { sequencer: LongestFirst, groupOrder: 1 },
};

/** A browser uses more than a core while it opens a page. Each file has a browser, and so a worker, of its own. */
const withBrowser = {
  ...withSecondTry,
  maxWorkers: 3,
  sequence: { sequencer: LongestFirst, groupOrder: 1 },
};

export default defineConfig({
  root: new URL("..", import.meta.url).pathname,
  test: {
    // Far above what the tests need: a limit tells a test that hangs from one that a busy machine slows down.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    expect: { poll: { timeout: 60_000, interval: 50 } },
    // The first line of a failure has the compared values, as far as a line of a report can be read.
    chaiConfig: { truncateThreshold: 400 },
    // Transformed sources are kept in node_modules, so that only the first run of the unit tests transforms all of them.
    experimental: { fsModuleCache: true },
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    projects: [
      project("unit", { ...inSharedWorkers, pool: "threads", testTimeout: 60_000 }),
      project("property", busy),
      project("chaos", busy),
      project("integration", waiting),
      project("conformance", waiting),
      project("proxies", waiting),
      project("browser", withBrowser),
    ],
  },
});
