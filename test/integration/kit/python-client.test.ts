/** The client for Python passes every scenario of the kit. */
import { join } from "node:path";
import { test } from "vitest";
import { skipWithout } from "../../support/installed.ts";
import { runKitWith } from "../../support/kit.ts";
import { PYTHON_CLIENT, pythonEnv, pythonWith } from "../../support/python.ts";

const found = await pythonWith("websockets>=15");

if ("missing" in found)
  test("the client for Python passes the kit", ({ skip }) => skipWithout(skip, found.missing));
else {
  const environment = Object.entries(pythonEnv()).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  const driver = [found.python, join(PYTHON_CLIENT, "tests", "kit_driver.py")].map((path) =>
    JSON.stringify(path),
  );
  runKitWith([...environment, ...driver].join(" "));
}
