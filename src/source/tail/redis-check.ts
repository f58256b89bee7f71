import { RedisConnection, RedisError, type RedisPackage } from "./redis-connection.ts";

/** The oldest version with all commands and options that the shared tail uses. */
const MINIMUM = { major: 6, minor: 2 };

/**
 * Checks the Redis of the shared tail at a start.
 * @returns What an admin should change, in a sentence without secrets; `null` if nothing. It is never a reason not to
 *   start, because a node without the tail reads MongoDB.
 */
export async function redisProblem(redis: RedisPackage, url: string): Promise<string | null> {
  const without = "until then this node reads MongoDB by itself";
  try {
    const connection = await RedisConnection.open(redis, url);
    try {
      const info = String(await connection.command(["INFO", "server"]));
      const [, version = "", major = "", minor = ""] = /redis_version:((\d+)\.(\d+)\S*)/.exec(info) ?? [];
      const isOld =
        Number(major) < MINIMUM.major || (Number(major) === MINIMUM.major && Number(minor) < MINIMUM.minor);
      if (!isOld) return null;
      return `mongodb.tail.redis is Redis ${version}, and ${MINIMUM.major}.${MINIMUM.minor} or newer is needed`;
    } finally {
      connection.close();
    }
  } catch (error) {
    if (!(error instanceof RedisError)) throw error;
    if (error.problem === "refused" && error.message.includes("NOPERM")) return null; // INFO is not needed
    const advice =
      error.problem === "refused"
        ? "check user, password and rights in mongodb.tail.redis.url"
        : "check host, port and TLS in mongodb.tail.redis.url, and whether it runs";
    return `the Redis of mongodb.tail cannot be used (${error.message}): ${advice}; ${without}`;
  }
}
