/** A large rule set, as several teams write one over time: 30 collections, 100 rules, some lookups, with comments. */

const COLLECTIONS = 30;
const NOUNS = ["orders", "invoices", "shipments", "messages", "tickets", "products"];

/** The names of the collections. */
export const collectionNames = Array.from(
  { length: COLLECTIONS },
  (_, i) => `${NOUNS[i % NOUNS.length]}${i < NOUNS.length ? "" : Math.floor(i / NOUNS.length) + 1}`,
);

/** Every third collection has a fourth rule. */
const hasPartners = (i) => i % 3 === 0;
const hasLookup = (i) => i % 5 === 4;

/**
 * The rule set, as text.
 * @param edited How it differs from the one in force: `note`, a word in one rule; `everywhere`, a word in a rule of each collection.
 */
export function rulesText({ note = null, everywhere = null } = {}) {
  return [
    "collections:",
    ...collectionNames.map((name, i) => collectionText(name, i, { note, everywhere })),
  ].join("\n");
}

function collectionText(name, i, { note, everywhere }) {
  const condition = everywhere ?? (i === COLLECTIONS / 2 ? note : null);
  const more = condition === null ? "" : `, state: { $ne: ${condition} }`;
  return `  # ${name}: agreed with the team in the review of ${2020 + (i % 6)}.
  ${name}:
${hasLookup(i) ? LOOKUP : ""}    rules:
      # Support sees everything, to answer calls.
      - name: staff
        when: { "%%user.roles": { $in: [admin, support] } }
${hasPartners(i) ? PARTNER : ""}      - name: team
        when: { "%%user.team": { $exists: true }, "%%user.roles": member }
        filter:
          $or:
            - { team: "%%user.team" }
            - { watchers: "%%user.sub" }
          archived: { $ne: true }
        fields: { exclude: [margin, notes.internal] }
        allow: { sort: [at, total] }
      # Everybody else sees what is theirs${hasLookup(i) ? ", and in their rooms" : ""}.
      - name: own
        when: { "%%user.sub": { $exists: true } }
        filter: { ${hasLookup(i) ? '$or: [{ owner: "%%user.sub" }, { room: { $in: "%%lookup.rooms" } }]' : 'owner: "%%user.sub"'}${more} }
        fields: { exclude: [margin, cost, notes.internal] }
        allow: { sort: [at] }
`;
}

const LOOKUP = `    lookups:
      rooms:
        collection: members
        filter: { user: "%%user.sub", banned: { $ne: true } }
        value: room
`;

const PARTNER = `      - name: partner
        when: { "%%user.partner": { $exists: true } }
        filter: { partner: "%%user.partner", shared: true }
        fields: { include: [number, status, at, total] }
`;

/** The claims of a user: one in twenty is staff, a third are in teams, some are partners. */
export function claimsOf(n) {
  const sub = `user-${n}`;
  if (n % 20 === 0) return { sub, roles: ["support"] };
  if (n % 20 === 1) return { sub, roles: ["guest"], partner: `partner-${n % 7}` };
  return n % 3 === 0 ? { sub, roles: ["member"], team: `team-${n % 50}` } : { sub, roles: ["guest"] };
}
