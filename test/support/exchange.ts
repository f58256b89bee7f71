/** A real HTTP exchange for a transport that a test drives by hand. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import { HttpExchange } from "../../src/gateway/transports/http-exchange.ts";
import { guardParts } from "./guard-parts.ts";
import { type Answer, ask } from "./http-client.ts";

/** The service's side of a request, and what its client gets in the end. */
export async function openExchange(): Promise<{ exchange: HttpExchange; answer: Promise<Answer> }> {
  let answer: Promise<Answer> | undefined;
  const exchange = await new Promise<HttpExchange>((resolve) => {
    const server = createServer((request, response) =>
      resolve(new HttpExchange(request, response, guardParts())),
    );
    onTestFinished(() => {
      server.close();
      server.closeAllConnections();
    });
    server.listen(0, "127.0.0.1", () => {
      // A TCP server has an address once it listens.
      answer = ask("GET", `http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
      answer.catch(() => {});
    });
  });
  if (answer === undefined) throw new Error("not asked");
  return { exchange, answer };
}
