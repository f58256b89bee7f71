/** Firebase Cloud Messaging, HTTP v1: https://firebase.google.com/docs/cloud-messaging/send/v1-api */
import { readFile } from "node:fs/promises";
import { keptFor, signJwt } from "./jwt.mjs";

const SCOPE = "https://www.googleapis.com/auth/firebase.messaging";
const TIMEOUT_MS = 5_000;
/** A token of Google is valid for an hour. */
const TOKEN_MS = 50 * 60_000;

/**
 * @param file The JSON file of a service account with the role "Firebase Cloud Messaging API Admin".
 * @returns A function that sends one notification: `"sent"`, `"gone"` for a device that is not registered any more, or
 *   `"later"`.
 */
export async function fcmSender(file, url = "https://fcm.googleapis.com") {
  const account = JSON.parse(await readFile(file, "utf8"));
  const accessToken = keptFor(TOKEN_MS, () => fetchToken(account));
  const path = `${url}/v1/projects/${account.project_id}/messages:send`;
  return async (token, { title, body, data, collapseId }) => {
    const message = {
      token,
      notification: { title, body },
      data,
      android: { collapse_key: collapseId, ttl: "3600s" },
    };
    const answer = await fetch(path, {
      method: "POST",
      headers: { authorization: `Bearer ${await accessToken()}`, "content-type": "application/json" },
      body: JSON.stringify({ message }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const text = await answer.text();
    if (answer.ok) return "sent";
    if (answer.status === 404 && text.includes("UNREGISTERED")) return "gone";
    console.error(`FCM answered ${answer.status}: ${text.slice(0, 500)}`);
    return "later";
  };
}

async function fetchToken({ client_email: iss, private_key: key, private_key_id: kid, token_uri: aud }) {
  const iat = Math.floor(Date.now() / 1_000);
  const assertion = signJwt("RS256", { kid }, { iss, scope: SCOPE, aud, iat, exp: iat + 3_600 }, key);
  const answer = await fetch(aud, {
    method: "POST",
    body: new URLSearchParams({ grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (!answer.ok) throw new Error(`Google's token service answered ${answer.status}`);
  return (await answer.json()).access_token;
}
