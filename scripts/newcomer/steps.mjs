/** Steps with their times, and the longest silence in each. */

/** A newcomer takes a command that prints nothing for longer than this, in milliseconds, for broken. */
const SILENCE_MS = 6_000;

export class Steps {
  #steps = [];
  #startedAtMs = performance.now();

  /** Runs a step, which may return commands whose silence counts. */
  async run(name, work) {
    const startedAtMs = performance.now();
    process.stdout.write(`${name} … `);
    const result = await work();
    const ms = performance.now() - startedAtMs;
    const { silenceMs = 0, silentAfter = "" } = result ?? {};
    this.#steps.push({ name, silenceMs, silentAfter });
    const silence =
      silenceMs > 2_000 ? `, silent for ${seconds(silenceMs)} s after ${JSON.stringify(silentAfter)}` : "";
    process.stdout.write(`${seconds(ms)} s${silence}\n`);
    return result;
  }

  get totalMs() {
    return performance.now() - this.#startedAtMs;
  }

  /** Sentences on steps that took too long, or were silent for too long. */
  complaints(limitMs) {
    const silent = this.#steps.filter(({ silenceMs }) => silenceMs > SILENCE_MS);
    return [
      ...silent.map(
        ({ name, silenceMs, silentAfter }) =>
          `${name}: nothing was printed for ${seconds(silenceMs)} s after ${JSON.stringify(silentAfter)}`,
      ),
      ...(this.totalMs > limitMs
        ? [`it took ${seconds(this.totalMs)} s, more than ${seconds(limitMs)} s`]
        : []),
    ];
  }
}

export const seconds = (ms) => (ms / 1_000).toFixed(1);
