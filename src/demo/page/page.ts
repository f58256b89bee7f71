/** The demo's page: three people in front of one board, each with a client of their own. */
import { api } from "./api.ts";
import { setUpKill, setUpRate } from "./controls.ts";
import { byId, element, setText } from "./element.ts";
import { LogPanel } from "./log-panel.ts";
import { RulesPanel } from "./rules-panel.ts";
import { ViewerCard } from "./viewer-card.ts";

const announce = (text: string) => setText(byId("announcer"), text);

async function start(): Promise<void> {
  const { viewers, rate, rules, consoleUrl } = await api.board();
  const log = new LogPanel(
    byId("log"),
    viewers.map(({ name }) => name),
  );
  const cards = viewers.map(
    (viewer) =>
      new ViewerCard(viewer, {
        applied: (name, applied, hearing) => log.add(name, applied, hearing),
        granted: (name, effect) => panel.granted(name, effect),
        announce,
      }),
  );
  const panel = new RulesPanel(rules, {
    inForce(areOriginal) {
      cards.forEach((card, at) => {
        card.showRights(areOriginal ? (viewers[at]?.sees ?? "") : "as the edited rules allow");
      });
      // A viewer that had lost access may have it again.
      for (const card of cards) if (card.isStopped) card.follow();
      for (const card of cards) void card.compare();
    },
  });
  byId("people").replaceChildren(...cards.map((card) => card.element));
  setUpRate(rate);
  setUpKill(announce);
  byId<HTMLAnchorElement>("console-link").href = consoleUrl;
}

start().catch((error: unknown) => {
  const text = `The demo does not answer: ${error instanceof Error ? error.message : String(error)}`;
  byId("people").replaceChildren(element("p", { class: "failed" }, text));
});
