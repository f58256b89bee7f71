// Run by mongosh as the health check of docker-compose.yml: makes the replica set and its users where they are missing,
// and fails until the service can log in at a primary. MongoDB takes these commands from its own machine as long as no
// user exists. Each step may be repeated, because a check may be cut off between two of them.
const admin = db.getSiblingDB("admin");
const { MONGODB_ADMIN_PASSWORD: adminPassword, MONGODB_PASSWORD: password } = process.env;

/** The privileges of the service. docs/operations.md gives the purpose of each. */
const PRIVILEGES = [
  // On every database, so that one change stream brings revocations, too.
  { resource: { db: "", collection: "" }, actions: ["find", "changeStream"] },
  { resource: { db: "shop", collection: "" }, actions: ["listCollections", "collMod", "createCollection"] },
  { resource: { db: "tidewire", collection: "" }, actions: ["insert", "update", "remove", "createIndex"] },
  { resource: { cluster: true }, actions: ["replSetGetConfig"] },
];
const ROLES = [{ role: "tidewire", db: "admin" }];

const canLogIn = (user, pwd) => {
  try {
    return Boolean(admin.auth(user, pwd));
  } catch {
    return false;
  }
};

const unlessThere = (make) => {
  try {
    make();
  } catch (error) {
    if (!/already exists/.test(error.message)) throw error;
  }
};

if (!admin.runCommand({ hello: 1 }).setName) {
  const members = [{ _id: 0, host: "mongodb:27017" }];
  admin.runCommand({ replSetInitiate: { _id: "rs0", members } });
}
if (!admin.runCommand({ hello: 1 }).isWritablePrimary) quit(1);
if (canLogIn("tidewire", password)) quit(0);

if (!canLogIn("admin", adminPassword)) {
  admin.runCommand({ createUser: "admin", pwd: adminPassword, roles: [{ role: "root", db: "admin" }] });
  if (!canLogIn("admin", adminPassword)) quit(1);
}
unlessThere(() => admin.runCommand({ createRole: "tidewire", privileges: PRIVILEGES, roles: [] }));
unlessThere(() => admin.runCommand({ createUser: "tidewire", pwd: password, roles: ROLES }));
quit(canLogIn("tidewire", password) ? 0 : 1);
