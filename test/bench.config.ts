import { defineConfig } from "vitest/config";

/** Measurements that take too long for every run (`npm run bench:…`): on a mongod like the suites, one at a time. */
export default defineConfig({
  root: new URL("..", import.meta.url).pathname,
  test: {
    include: ["bench/*.bench.ts"],
    globalSetup: ["test/support/global-setup.ts"],
    testTimeout: 3_600_000,
    hookTimeout: 120_000,
    maxWorkers: 1,
    // Memory is measured after the garbage is gone.
    execArgv: ["--expose-gc"],
  },
});
