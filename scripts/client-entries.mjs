/**
 * The entries of the package of the client: those of the package `tidewire` that run in browsers.
 * @param manifest The package.json of `tidewire`.
 * @returns Of each entry its name in both packages, and its module in `dist` without the ending.
 */
export function clientEntries({ exports }) {
  return Object.entries(exports).flatMap(([full, { default: module }]) => {
    const [, folder] = /^\.\/(client|react|vue|tanstack-db|devtools)(?:\/|$)/.exec(full) ?? [];
    if (folder === undefined) return [];
    const name = full === "./client" ? "." : full.replace("./client/", "./");
    return [{ name, full: full.replace(".", "tidewire"), path: module.replace(/^\.\/dist\/|\.js$/g, "") }];
  });
}
