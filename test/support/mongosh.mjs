// Runs a script for mongosh with the few of its functions that config/mongodb-setup.js uses, where there is no mongosh:
// node mongosh.mjs PORT FILE. Its calls are synchronous, so a thread does the work while this one waits.
import { readFileSync } from "node:fs";
import { createContext, runInContext } from "node:vm";
import { isMainThread, MessageChannel, receiveMessageOnPort, Worker, workerData } from "node:worker_threads";
import { MongoClient } from "mongodb";

const connect = (port, auth) =>
  new MongoClient(`mongodb://127.0.0.1:${port}/?directConnection=true`, {
    serverSelectionTimeoutMS: 5_000,
    ...(auth === undefined ? {} : { auth, authSource: "admin" }),
  }).connect();

async function serve({ port, mongodbPort, flag }) {
  let client = await connect(mongodbPort);
  const calls = {
    runCommand: (database, command) => client.db(database).command(command),
    async auth(_database, username, password) {
      const other = await connect(mongodbPort, { username, password });
      await client.close();
      client = other;
      return { ok: 1 };
    },
  };
  port.on("message", async ([name, ...args]) => {
    const answer = await calls[name](...args).then(
      (value) => ({ value: JSON.parse(JSON.stringify(value)) }),
      (error) => ({ error: error.message }),
    );
    port.postMessage(answer);
    Atomics.store(flag, 0, 1);
    Atomics.notify(flag, 0);
  });
}

function run(mongodbPort, file) {
  const { port1, port2 } = new MessageChannel();
  const flag = new Int32Array(new SharedArrayBuffer(4));
  const data = { port: port2, mongodbPort, flag };
  new Worker(new URL(import.meta.url), { workerData: data, transferList: [port2] });
  const call = (...message) => {
    Atomics.store(flag, 0, 0);
    port1.postMessage(message);
    Atomics.wait(flag, 0, 0);
    const { value, error } = receiveMessageOnPort(port1).message;
    if (error !== undefined) throw new Error(error);
    return value;
  };
  const database = (name) => ({
    getSiblingDB: database,
    runCommand: (command) => call("runCommand", name, command),
    auth: (user, password) => call("auth", name, user, password),
  });
  const quit = (code) => process.exit(code);
  runInContext(readFileSync(file, "utf8"), createContext({ db: database("test"), process, quit }));
}

if (isMainThread) run(process.argv[2], process.argv[3]);
else await serve(workerData);
