/** The user who is logged in. */
export const user = new URLSearchParams(location.search).get("user") ?? "ada";

/** Asks your own backend: writes and tokens are its business. */
export async function backend<Answer>(action: string, body: object): Promise<Answer> {
  const response = await fetch(`/${action}`, { method: "POST", body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${action}: HTTP ${response.status}`);
  return response.json();
}
