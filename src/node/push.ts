import type { Feed } from "../feed/feed.ts";
import type { GatewayContext } from "../gateway/context.ts";
import type { SharedParts } from "../gateway/shared-parts.ts";
import { SparseLog } from "../metrics/sparse-log.ts";
import { safeRequest } from "../outbound/safe-request.ts";
import type { AnsweringStore } from "../push/partition.ts";
import { PushRoutes } from "../push/push-routes.ts";
import { PushService } from "../push/push-service.ts";
import { type RegistrationStore, Registrations } from "../push/registrations.ts";
import { Sender } from "../push/sender.ts";
import { Vapid } from "../push/vapid.ts";
import { LeaseStore } from "../source/lease-store.ts";
import { PushStore } from "../source/push-store.ts";
import type { Basics } from "./basics.ts";
import type { SharedState } from "./shared-state.ts";

/** The parts of a node that push registrations need. */
interface Started extends SharedParts {
  readonly feed: Feed;
  readonly context: GatewayContext;
}

/** Starts to serve push registrations. @returns `null` if there are no VAPID keys. */
export function startPush(
  { config, id, log, metrics, onStop }: Basics,
  { database, answer }: SharedState,
  { feed, context, admission, accounts, callers, hosted }: Started,
): PushRoutes | null {
  const { push: options, limits } = config;
  if (options.vapid === undefined) return null;
  const vapid = new Vapid(options.vapid);
  const saved = new PushStore(database);
  const store: AnsweringStore & RegistrationStore = {
    put: (...given) => answer(() => saved.put(...given)),
    list: (...given) => answer(() => saved.list(...given)),
    remove: (...given) => answer(() => saved.remove(...given)),
    claim: (...given) => answer(() => saved.claim(...given)),
    load: (partition) => saved.load(partition),
    written: (partition) => answer(() => saved.written(partition)),
    taken: (...given) => answer(() => saved.taken(...given)),
    maySend: (...given) => answer(() => saved.maySend(...given)),
    save: (...given) => answer(() => saved.save(...given)),
    erase: (...given) => answer(() => saved.erase(...given)),
  };
  const sender = new Sender(options, { log, metrics });
  metrics.onScrape("pushHeldBack", () => {
    for (const by of ["host", "user"] as const) metrics.pushHeldBack.set({ by }, sender.heldBack(by));
  });
  const service = new PushService({
    feed,
    accounts,
    hosted,
    context,
    log,
    options,
    request: { options, vapid, send: safeRequest },
    sender,
    refusals: new SparseLog(),
    metrics,
    store,
    leases: new LeaseStore(database),
    answer,
    holder: id,
  });
  onStop(() => service.stop());
  const { publicKey } = vapid;
  const registrations = new Registrations({ hosted, context, options, limits, publicKey, store });
  return new PushRoutes(context, { admission, callers }, registrations);
}
