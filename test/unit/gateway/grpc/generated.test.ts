import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../../../support/build.ts";

const NAME = "tidewire/v1/live_queries_pb.ts";

test("the messages of proto/ are current (if not: npm run generate)", { timeout: 60_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "tidewire-proto-"));
  try {
    execFileSync(process.execPath, ["scripts/generate-messages.mjs", folder], { cwd: ROOT });
    const committed = readFileSync(join(ROOT, "src", "gateway", "grpc", NAME), "utf8");
    expect(readFileSync(join(folder, NAME), "utf8")).toBe(committed);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
