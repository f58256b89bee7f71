const page = new URLSearchParams(location.search);

/** The user who is logged in. This example takes the name from the address; your backend knows it from the session. */
export const user = page.get("user") ?? "ada";
/** Everybody in a room sees everybody else in it. */
export const room = page.get("room") ?? "lobby";
/** The service. */
export const service = page.get("service") ?? "http://127.0.0.1:8480";

/** Asks the backend. @throws {Error} It has refused, or does not answer. */
export async function post<Answer>(action: string, body: object): Promise<Answer> {
  const response = await fetch(`/${action}`, { method: "POST", body: JSON.stringify({ user, ...body }) });
  if (!response.ok) throw new Error(`${action}: HTTP ${response.status}`);
  return response.json();
}
