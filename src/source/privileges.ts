/**
 * Finds the rights that the service needs and the connected user lacks. The check compares lists instead of trying each
 * operation, so it has no side effects and can name every missing right at once.
 */
import type { Document } from "mongodb";
import type { MongoAccess } from "./mongo.ts";

/** A resource as in the definition of a role: an empty name means every database, or every collection of it. */
interface Resource {
  readonly db: string;
  readonly collection: string;
}

/** Actions that the service needs on a resource, and their purpose. */
export interface Need {
  readonly resource: Resource;
  readonly actions: readonly string[];
  /** Completes "… is needed to …". */
  readonly purpose: string;
}

/** Actions that the user may perform on a resource. */
export interface Privilege {
  readonly resource: Partial<Resource> & { readonly anyResource?: boolean };
  readonly actions: readonly string[];
}

/** The user's privileges; `null` if the server requires no login. */
export async function readPrivileges(client: MongoAccess): Promise<readonly Privilege[] | null> {
  const { authInfo }: Document = await client
    .db("admin")
    .command({ connectionStatus: 1, showPrivileges: true });
  if (!authInfo?.authenticatedUsers?.length) return null;
  return authInfo.authenticatedUserPrivileges ?? [];
}

/** The part of `needs` that `privileges` do not cover. Actions on one resource are reported together. */
export function missingPrivileges(needs: readonly Need[], privileges: readonly Privilege[]): Need[] {
  return needs.flatMap((need) => {
    const actions = need.actions.filter(
      (action) => !privileges.some((held) => covers(held.resource, need.resource) && allows(held, action)),
    );
    return actions.length === 0 ? [] : [{ ...need, actions }];
  });
}

const allows = ({ actions }: Privilege, action: string) =>
  actions.includes(action) || actions.includes("anyAction");

function covers(held: Privilege["resource"], needed: Resource): boolean {
  if (held.anyResource === true) return true;
  // A cluster-wide resource has neither name, and covers no collection.
  if (held.db === undefined || held.collection === undefined) return false;
  return covered(held.db, needed.db) && covered(held.collection, needed.collection);
}

const covered = (held: string, needed: string) => held === "" || held === needed;

/** A text for the admin: the missing actions, their purpose, and the privilege to add to the user's role. */
export function describeNeed({ resource, actions, purpose }: Need): string {
  const { db, collection } = resource;
  const on = db === "" ? "every database" : collection === "" ? `database ${db}` : `${db}.${collection}`;
  const privilege = `{ resource: { db: ${JSON.stringify(db)}, collection: ${JSON.stringify(collection)} }, actions: ${JSON.stringify(actions)} }`;
  return `the user lacks ${actions.join(", ")} on ${on}, needed to ${purpose}; grant ${privilege}`;
}
