import type {
  BoardAnswer,
  FindAnswer,
  FindRequest,
  RateRequest,
  RulesAnswer,
  RulesRequest,
  RulesText,
  TokenAnswer,
  TokenRequest,
} from "../page-api.ts";

const post = <Answer>(name: string, body: object) =>
  ask<Answer>(name, { method: "POST", body: JSON.stringify(body) });

/** Requests that only the demo's service answers. */
export const api = {
  board: () => ask<BoardAnswer>("board"),
  token: (request: TokenRequest) => post<TokenAnswer>("token", request),
  rules: () => ask<RulesText>("rules"),
  saveRules: (request: RulesRequest) => post<RulesAnswer>("rules", request),
  setRate: (request: RateRequest) => post<object>("rate", request),
  find: (request: FindRequest) => post<FindAnswer>("find", request),
  kill: () => post<object>("kill", {}),
};

async function ask<Answer>(name: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(`/demo/api/${name}`, init);
  const body = await response.json();
  if (!response.ok) throw new Error(body.error ?? `HTTP ${response.status}`);
  return body as Answer; // page and service come from the same build
}

/** The generation of the rules in force; `undefined` while the service is not ready. */
export async function rulesGeneration(): Promise<number | undefined> {
  try {
    const response = await fetch("/readyz");
    if (!response.ok) return undefined;
    return (await response.json()).rulesGeneration;
  } catch {
    return undefined; // the service does not listen yet
  }
}

/** Settles after `ms` milliseconds. */
export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
