import { api, pause, rulesGeneration } from "./api.ts";
import { byId, element, setText } from "./element.ts";

const RATES = [
  { rate: 0, title: "Pause" },
  { rate: 1, title: "1" },
  { rate: 3, title: "3" },
  { rate: 10, title: "10" },
] as const;

const BACK_WITHIN_MS = 60_000;
const LOOK_EVERY_MS = 100;

/** The choice of the backend's write rate. */
export function setUpRate(rate: number): void {
  const choices = RATES.map(({ rate: value, title }) => {
    const input = element("input", {
      type: "radio",
      name: "rate",
      value: String(value),
      checked: value === rate,
    });
    input.addEventListener("change", () => void api.setRate({ rate: value }));
    return element("label", {}, input, element("span", {}, title));
  });
  byId("rate-choices").append(...choices);
}

/** Kills the service, and says when it is back. */
export function setUpKill(announce: (text: string) => void): void {
  const button = byId<HTMLButtonElement>("kill");
  const text = byId("service-text");
  const dot = byId("service");
  button.addEventListener("click", async () => {
    button.disabled = true;
    dot.className = "service down";
    setText(text, "killed (SIGKILL); the demo starts it again …");
    announce("The service was killed");
    const startedAtMs = performance.now();
    await api.kill().catch(() => {}); // the service may exit before its answer arrives
    const isBack = await untilBack(startedAtMs + BACK_WITHIN_MS);
    const seconds = ((performance.now() - startedAtMs) / 1_000).toFixed(1);
    button.disabled = false;
    dot.className = isBack ? "service up" : "service down";
    setText(text, isBack ? `ready again after ${seconds} s` : "it has not restarted");
    announce(
      isBack ? `The service is ready again after ${seconds} seconds` : "The service has not restarted",
    );
  });
}

async function untilBack(endMs: number): Promise<boolean> {
  // Until the process has exited, the service would answer as if it were running.
  while ((await rulesGeneration()) !== undefined && performance.now() < endMs) await pause(LOOK_EVERY_MS / 4);
  while (performance.now() < endMs) {
    if ((await rulesGeneration()) !== undefined) return true;
    await pause(LOOK_EVERY_MS);
  }
  return false;
}
