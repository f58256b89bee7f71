/** Loaded by `--import` before the service: makes it find no `@redis/client`, as where it is not installed. */
import { register } from "node:module";

const hooks = `export async function resolve(name, context, next) {
  if (name === "@redis/client") throw Object.assign(new Error("not found"), { code: "ERR_MODULE_NOT_FOUND" });
  return next(name, context);
}`;
register(`data:text/javascript,${encodeURIComponent(hooks)}`);
