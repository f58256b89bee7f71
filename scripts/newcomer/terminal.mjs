/** Runs commands as a newcomer types them, in a terminal. */
import { spawn, spawnSync } from "node:child_process";
import { stripVTControlCharacters } from "node:util";

const FORCE_AFTER_MS = 20_000;
const SIZE = "stty cols 140 rows 45";
/** Programs draw progress for a terminal only. `script` (util-linux) provides one. */
const hasTerminal = spawnSync("script", ["--version"]).status === 0;

/** A running command, what it has printed, and for how long it was silent. */
export class Command {
  text = "";
  /** The longest time without any output, in milliseconds. */
  silenceMs = 0;
  /** The last line before that. */
  silentAfter = "";
  #child;
  #heardAtMs = performance.now();
  #ended;
  #waiting = new Set();

  constructor(line, { cwd, env }) {
    const shell = hasTerminal
      ? ["script", "-qefc", `${SIZE}; exec ${line}`, "/dev/null"]
      : ["sh", "-c", `exec ${line}`];
    this.line = line;
    this.#child = spawn(shell[0], shell.slice(1), {
      cwd,
      env,
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
    });
    this.#child.stdin.on("error", () => {}); // The command may end while a key is sent.
    for (const output of [this.#child.stdout, this.#child.stderr])
      output.on("data", (data) => this.#heard(data));
    this.#ended = new Promise((resolve) => {
      this.#child.once("close", (code) => {
        this.#heard("");
        this.code = code ?? 1;
        resolve(this.code);
        this.#check();
      });
    });
  }

  /** The first match of what the command prints. @throws {Error} It ends before that, or the time is over. */
  until(pattern, timeoutMs = 120_000) {
    return new Promise((resolve, reject) => {
      const fail = (why) => reject(new Error(`${this.line}: ${why}\n${this.text.slice(-3_000)}`));
      const timer = setTimeout(() => fail(`no ${pattern} within ${timeoutMs / 1_000} s`), timeoutMs);
      const check = () => {
        const found = pattern.exec(this.text);
        if (found === null && this.code === undefined) return;
        clearTimeout(timer);
        this.#waiting.delete(check);
        if (found === null) fail(`ended with ${this.code}`);
        else resolve(found);
      };
      this.#waiting.add(check);
      check();
    });
  }

  /** Waits for the end. @throws {Error} The command failed. */
  async done() {
    if ((await this.#ended) !== 0)
      throw new Error(`${this.line}: ended with ${this.code}\n${this.text.slice(-3_000)}`);
    return this;
  }

  /** Ends the command with Ctrl-C, with another one if it asks for that, and forcibly if neither helps. */
  async stop() {
    if (this.code !== undefined) return;
    this.#interrupt();
    let isForced = false;
    const force = setTimeout(() => {
      isForced = true;
      process.kill(-this.#child.pid, "SIGKILL");
    }, FORCE_AFTER_MS);
    await Promise.race([
      this.#ended,
      this.until(/Ctrl-C again/, FORCE_AFTER_MS).then(
        () => this.#interrupt(),
        () => {},
      ),
    ]);
    await this.#ended;
    clearTimeout(force);
    if (isForced) throw new Error(`${this.line}: Ctrl-C did not end it\n${this.text.slice(-3_000)}`);
  }

  #interrupt() {
    if (hasTerminal) this.#child.stdin.write("\x03");
    else process.kill(-this.#child.pid, "SIGINT");
  }

  #heard(data) {
    const nowMs = performance.now();
    if (nowMs - this.#heardAtMs > this.silenceMs) {
      this.silenceMs = nowMs - this.#heardAtMs;
      this.silentAfter = this.text.trimEnd().split("\n").at(-1)?.trim().slice(-60) ?? "";
    }
    this.#heardAtMs = nowMs;
    this.text += stripVTControlCharacters(String(data)).replaceAll("\r", "");
    this.#check();
  }

  #check() {
    for (const check of [...this.#waiting]) check();
  }
}
