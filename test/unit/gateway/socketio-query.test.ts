/** The URL of a request for Socket.IO, which the service and the library must read in the same way. */
import { createServer, type IncomingMessage } from "node:http";
import { Server } from "socket.io";
import { expect, test } from "vitest";
import { queryOf } from "../../../src/gateway/socketio/socketio-query.ts";

/** Only the URL of a request is read. */
const requestFor = (url: string) => ({ url }) as IncomingMessage & { _query?: object };

/** The parameters that the library would read by itself. */
const byEngine = (url: string) => Object.fromEntries(new URL(url, "https://socket.io").searchParams);

test.each([
  "/socket.io/?EIO=4&transport=polling&sid=a",
  "/socket.io/?EIO=4&transport=polling&s%69d=%61+b%26",
  "/socket.io/?EIO=4&&=&sid=",
  "/socket.io/?a=%zz&b=%ff&c=?&d=\\",
  "/socket.io/?app%5B%5D=1&constructor=2&toString=3",
  "/socket.io/?",
  "/socket.io/",
])("reads %s as the library would", (url) => {
  expect(Object.entries(queryOf(requestFor(url)))).toEqual(Object.entries(byEngine(url)));
});

test.each([
  "/socket.io/?sid=a&sid=b",
  "/socket.io/?sid=a&sid=a",
  "/socket.io/?sid=&sid=a",
  "/socket.io/?sid=a&s%69d=b",
  "/socket.io/?__proto__=a&__proto__=b",
  "/socket.io/?sid=a#",
  "/socket.io/?sid=a#&sid=b",
])("refuses %s", (url) => {
  expect(() => queryOf(requestFor(url))).toThrow(
    expect.objectContaining({ code: "bad-request", message: expect.stringMatching(/more than once|#/) }),
  );
});

test("the library uses the parameters that were read, and does not parse the URL again", async () => {
  const io = new Server(createServer());
  const request = requestFor("/socket.io/?sid=a");
  const query = queryOf(request);
  // Not in the types of the library: it serves applications that have parsed the URL already.
  const engine = io.engine as unknown as { prepare(request: object): void };
  request.url = "/socket.io/?sid=b";
  engine.prepare(request);
  expect(request._query).toBe(query);
  expect(queryOf(request)).toEqual({ sid: "a" });
  await io.close();
});
