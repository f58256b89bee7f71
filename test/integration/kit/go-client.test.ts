/** The client of examples/go: its format, and the scenarios of the kit for one query on a connection. */
import { expect, test } from "vitest";
import { go, goProgram } from "../../support/go.ts";
import { skipWithout } from "../../support/installed.ts";
import { runKitWith } from "../../support/kit.ts";

const found = await goProgram("examples/go", "driver");

if ("missing" in found)
  test("the client of examples/go passes the kit", ({ skip }) => skipWithout(skip, found.missing));
else {
  test("go vet finds nothing in examples/go", async () => {
    expect(await go("examples/go", "vet", "./...")).toBe("");
  });
  test("the files of examples/go have the format of gofmt", async () => {
    expect(await go("examples/go", "fmt", "-n", "./...")).toBe("");
  });
  runKitWith(JSON.stringify(found.program), ["queries", "deltas"]);
}
