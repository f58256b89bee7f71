/** Apple Push Notification service: https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns */
import { readFile } from "node:fs/promises";
import { connect } from "node:http2";
import { keptFor, signJwt } from "./jwt.mjs";

const TIMEOUT_MS = 5_000;
/** Apple accepts a token for an hour, and refuses a new one more often than every 20 minutes. */
const TOKEN_MS = 40 * 60_000;
const EXPIRES_S = 3_600;

/**
 * @param options `keyFile` (the .p8 file), `keyId`, `teamId`, and `topic`, the bundle id of the app.
 * @returns A function that sends one notification, as `fcmSender` does.
 */
export async function apnsSender({ keyFile, keyId, teamId, topic, url = "https://api.push.apple.com" }) {
  const key = await readFile(keyFile, "utf8");
  const jwt = keptFor(TOKEN_MS, async () => {
    const iat = Math.floor(Date.now() / 1_000);
    return signJwt("ES256", { kid: keyId }, { iss: teamId, iat }, key);
  });
  let session;
  /** One connection for all notifications, made again when Apple has closed it. */
  const open = () => {
    if (session === undefined || session.closed || session.destroyed) {
      session = connect(url);
      session.on("error", (error) => console.error(`APNs: ${error.message}`));
      session.unref();
    }
    return session;
  };
  return async (device, { title, body, data, collapseId }) => {
    const headers = {
      ":method": "POST",
      ":path": `/3/device/${device}`,
      authorization: `bearer ${await jwt()}`,
      "apns-topic": topic,
      "apns-push-type": "alert",
      "apns-priority": "10",
      "apns-expiration": String(Math.floor(Date.now() / 1_000) + EXPIRES_S),
      "apns-collapse-id": collapseId,
      "content-type": "application/json",
    };
    const payload = JSON.stringify({ aps: { alert: { title, body }, sound: "default" }, ...data });
    const { status, text } = await exchange(open(), headers, payload);
    if (status === 200) return "sent";
    if (status === 410 || (status === 400 && text.includes("BadDeviceToken"))) return "gone";
    console.error(`APNs answered ${status}: ${text.slice(0, 500)}`);
    return "later";
  };
}

function exchange(session, headers, payload) {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers);
    let status;
    let text = "";
    stream.setEncoding("utf8");
    stream.setTimeout(TIMEOUT_MS, () => stream.destroy(new Error("APNs did not answer in time")));
    stream.on("response", (answer) => {
      status = answer[":status"];
    });
    stream.on("data", (part) => {
      text += part;
    });
    stream.on("error", reject);
    stream.on("close", () =>
      status === undefined ? reject(new Error("APNs closed the connection")) : resolve({ status, text }),
    );
    stream.end(payload);
  });
}
