/** The client of examples/go: its format, and the scenarios of the kit for one query on a connection. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { ROOT } from "../../support/build.ts";
import { go, goProgram } from "../../support/go.ts";
import { skipWithout } from "../../support/installed.ts";
import { runKitWith } from "../../support/kit.ts";

const run = promisify(execFile);
const found = await goProgram("examples/go", "driver");

if ("missing" in found)
  test("the client of examples/go passes the kit", ({ skip }) => skipWithout(skip, found.missing));
else {
  test("go vet finds nothing in examples/go", async () => {
    expect(await go("examples/go", "vet", "./...")).toBe("");
  });
  test("the result of examples/go holds what the vectors and a transcript say", async () => {
    expect(await go("examples/go", "test", "-count=1", ".")).toContain("ok");
  });
  test("the files of examples/go have the format of gofmt", async () => {
    expect(await run("gofmt", ["-l", "."], { cwd: join(ROOT, "examples/go") })).toMatchObject({ stdout: "" });
  });
  runKitWith(JSON.stringify(found.program), { without: ["queries", "deltas"] });
}
