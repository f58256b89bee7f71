import type { Readiness } from "../admin/readiness.ts";

/** The readiness that a worker reports, or the substitute for a worker that does not answer. */
export type WorkerReadiness = { readonly pid: number | undefined } & (
  | Readiness
  | { readonly ready: false; readonly status: "starting" | "no-answer"; readonly node: string }
);

/** Of all workers: ready when each of them is. */
export interface JoinedReadiness extends Readiness {
  readonly workers: readonly WorkerReadiness[];
}

/** In this order an admin should look at the reasons. The last ones end without any action. */
const GRAVEST_FIRST: readonly WorkerReadiness["status"][] = [
  "draining",
  "mongodb-unreachable",
  "no-majority",
  "too-many-revocations",
  "revocations-unknown",
  "rules-behind",
  "no-answer",
  "starting",
  "catching-up",
];

/** @param own The values of the primary: its name, and the generation for the case that no worker reports one. */
export function joinReadiness(
  own: Pick<Readiness, "node" | "id" | "lastReload" | "rulesGeneration">,
  workers: readonly WorkerReadiness[],
): JoinedReadiness {
  const answers = workers.filter((worker): worker is Readiness & WorkerReadiness => "stream" in worker);
  const generations = answers.map(({ rulesGeneration }) => rulesGeneration);
  return {
    ready: workers.every(({ ready }) => ready),
    status: GRAVEST_FIRST.find((status) => workers.some((worker) => worker.status === status)) ?? "ready",
    node: own.node,
    id: own.id,
    rulesGeneration: generations.length === 0 ? own.rulesGeneration : Math.min(...generations),
    lastReload: own.lastReload,
    rulesBehind: answers.find(({ rulesBehind }) => rulesBehind !== null)?.rulesBehind ?? null,
    stream: answers.find(({ stream }) => stream !== "running")?.stream ?? answers[0]?.stream ?? "starting",
    streamDown: joinDown(answers),
    connections: answers.reduce((sum, { connections }) => sum + connections, 0),
    revocation: answers.every(({ revocation }) => revocation === "on") ? "on" : "off",
    images: joinImages(answers),
    workers,
  };
}

/** The longest time of all workers. */
const joinDown = (answers: readonly Readiness[]): Readiness["streamDown"] =>
  answers.reduce<Readiness["streamDown"]>(
    (longest, { streamDown }) =>
      (streamDown?.seconds ?? -1) > (longest?.seconds ?? -1) ? streamDown : longest,
    null,
  );

/** A collection's images are `off` if any worker reports `off`. */
function joinImages(answers: readonly Readiness[]): Readiness["images"] {
  const joined: Record<string, Readiness["images"][string]> = {};
  for (const { images } of answers) {
    for (const [collection, inUse] of Object.entries(images)) {
      if (joined[collection] !== "off") joined[collection] = inUse;
    }
  }
  return joined;
}
