/** Loaded by `--import` before the command: makes it find no `@modelcontextprotocol/server`, as where it is not installed. */
import { register } from "node:module";

const hooks = `export async function resolve(name, context, next) {
  if (name.startsWith("@modelcontextprotocol/"))
    throw Object.assign(new Error("not found"), { code: "ERR_MODULE_NOT_FOUND" });
  return next(name, context);
}`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
