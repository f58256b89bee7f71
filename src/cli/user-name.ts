import { userInfo } from "node:os";

/** The name of the user who runs a command. */
export function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return "unknown"; // in a container the user may have no name
  }
}
