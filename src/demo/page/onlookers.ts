import type { Client } from "tidewire/client";
import { enter, whoIsIn } from "tidewire/client/presence";
import { capitalized, element, setText } from "./element.ts";

/** The room of everybody who looks at the board. */
const BOARD = "board";

/** The people who look at the board, as one of them sees them. A person with several tabs is named once. */
export class Onlookers {
  readonly element = element("p", { class: "onlookers" });

  constructor(client: Client) {
    enter(client, BOARD);
    whoIsIn(client, BOARD).subscribe({
      data: (entries) => {
        const names = [...new Set(entries.map(({ user }) => capitalized(user)))].sort();
        setText(this.element, names.length === 0 ? "" : `At the board: ${names.join(", ")}`);
      },
      // The line is empty, and the card says that the viewer is disconnected.
      error: () => {},
    });
  }
}
