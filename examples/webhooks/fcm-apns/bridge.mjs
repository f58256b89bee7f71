/**
 * Turns the webhooks of a sink into notifications on phones: by Firebase Cloud Messaging (Android) and the Apple Push
 * Notification service (iOS).
 *
 *     npm install standardwebhooks
 *     node bridge.mjs
 *
 * Environment: WEBHOOK_SECRET; PORT (8091); DEVICES, a JSON file {"USER": [{"fcm": "TOKEN"}, {"apns": "TOKEN"}]};
 * USER_FIELD, the field of the document that names the user ("user"); for Android GOOGLE_APPLICATION_CREDENTIALS; for iOS
 * APNS_KEY_FILE, APNS_KEY_ID, APNS_TEAM_ID and APNS_TOPIC.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";
import { apnsSender } from "./apns.mjs";
import { fcmSender } from "./fcm.mjs";

const { env } = process;
const MAX_BYTES = 64 * 1_048_576;
/** The longest notification of APNs has 4 KiB, with its data. */
const BODY_LENGTH = 200;

const webhook = new Webhook(env.WEBHOOK_SECRET ?? "");
const senders = {
  ...(env.GOOGLE_APPLICATION_CREDENTIALS && {
    fcm: await fcmSender(env.GOOGLE_APPLICATION_CREDENTIALS, env.FCM_URL),
  }),
  ...(env.APNS_KEY_FILE && {
    apns: await apnsSender({
      keyFile: env.APNS_KEY_FILE,
      keyId: env.APNS_KEY_ID,
      teamId: env.APNS_TEAM_ID,
      topic: env.APNS_TOPIC,
      url: env.APNS_URL,
    }),
  }),
};

/** In production your database: devices register by your own API, and `forget` deletes them. */
const devices = JSON.parse(await readFile(env.DEVICES ?? "devices.json", "utf8"));

function forget(user, device) {
  devices[user] = devices[user].filter((one) => one !== device);
  console.log(JSON.stringify({ type: "forgotten", user }));
}

/** The text on the phone. Change it to yours. */
function toNotification({ id, type, subject, data }) {
  return {
    title: type,
    body: String(data.doc.title ?? subject).slice(0, BODY_LENGTH),
    data: { id, subject },
    // A repetition, and a later change of the same document, replace the notification instead of adding another one.
    collapseId: createHash("sha256").update(subject).digest("base64url"),
  };
}

/** Sends the notifications of one event. @returns Whether all are with Google or Apple. */
async function notify(event) {
  const user = event.data?.doc?.[env.USER_FIELD ?? "user"];
  if (typeof user !== "string" || !Object.hasOwn(devices, user)) return true;
  const notification = toNotification(event);
  const results = await Promise.all(
    devices[user].map(async (device) => {
      const [kind, token] = Object.entries(device)[0];
      const result = await senders[kind]?.(token, notification);
      if (result === "gone") forget(user, device);
      return result;
    }),
  );
  return !results.includes("later");
}

async function receive(request) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) return 413;
    chunks.push(chunk);
  }
  let content;
  try {
    content = webhook.verify(Buffer.concat(chunks), request.headers);
  } catch {
    return 401;
  }
  const sent = await Promise.all([content].flat().map(notify));
  // The service sends the event again after 503. The devices that have it show no second notification.
  return sent.every(Boolean) ? 204 : 503;
}

const server = createServer((request, response) => {
  receive(request).then(
    (status) => response.writeHead(status).end(),
    (error) => {
      console.error(error);
      response.writeHead(503).end();
    },
  );
});
server.listen(Number(env.PORT ?? 8091), "127.0.0.1", () => {
  console.log(JSON.stringify({ type: "listening", port: server.address().port }));
});
