/** A service with push registrations, a push service on loopback, and a collection of orders. */
import { newVapidKeys } from "../../src/push/vapid.ts";
import { metricOf } from "./metric.ts";
import { PushClient } from "./push-client.ts";
import { PushEndpoint } from "./push-endpoint.ts";
import { startTestService, type TestServiceOptions } from "./service.ts";

export const ORDERS = {
  orders: {
    lookups: { teams: { collection: "members", filter: { user: "%%user.sub" }, value: "team" } },
    rules: [
      { name: "admin", when: { "%%user.role": "admin" }, filter: {} },
      {
        name: "team",
        when: { "%%user.team": true },
        filter: { team: { $in: "%%lookup.teams" } },
        fields: { exclude: ["margin"] },
      },
      { name: "own", filter: { owner: "%%user.sub" }, fields: { exclude: ["margin"] } },
    ],
  },
  notes: { rules: [{ name: "admin", when: { "%%user.role": "admin" }, filter: {} }] },
};

export const TEMPLATES = {
  orders: {
    title: "Order {{number}}",
    body: "{{item}} for {{owner}}{{margin}}",
    url: "/orders/{{_id}}",
    changed: { title: "Order {{number}} is {{status}}" },
    removed: { title: "An order has left", body: "" },
  },
};

/** The section `push`, with pauses that suit tests. */
export const pushSection = (options: Record<string, unknown> = {}) => ({
  vapid: { subject: "mailto:ops@example.com", ...newVapidKeys() },
  allowPrivate: true,
  templates: TEMPLATES,
  retryFirst: "100ms",
  retryMax: "300ms",
  // A busy machine may need many of these short pauses.
  attempts: 100,
  // A busy machine may stop a process for seconds, and a lease that ends makes another start.
  leaseTtl: "20s",
  ...options,
});

export async function startPushService(
  push: Record<string, unknown> = {},
  options: Partial<TestServiceOptions> = {},
) {
  const endpoint = await PushEndpoint.start();
  const setup = await startTestService({ collections: ORDERS, push: pushSection(push), ...options });
  const base = `http://127.0.0.1:${setup.service.address.port}`;
  return {
    ...setup,
    base,
    endpoint,
    orders: setup.db.collection<{ _id: string | number } & Record<string, unknown>>("orders"),
    members: setup.db.collection("members"),
    pushes: setup.client.db(`${setup.name}-state`).collection("pushes"),
    as: (sub: string, claims: Record<string, unknown> = {}) => new PushClient(() => base, { sub, ...claims }),
    metric: (name: string) => metricOf(setup.service, name),
    outcomes: async (): Promise<Readonly<Record<string, number>>> => {
      const { values } = await setup.service.metrics.pushes.get();
      return Object.fromEntries(values.map(({ labels, value }) => [String(labels["outcome"]), value]));
    },
  };
}
