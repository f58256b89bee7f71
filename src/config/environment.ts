/** `${…}`, or `$${` for a literal `${`, or an opening without its end. */
const PLACEHOLDER = /\$\$\{|\$\{([^}]*)\}|\$\{/g;
const REFERENCE = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s;

/**
 * Fills in `${NAME}` and `${NAME:-default}`; `$${` inserts a literal `${`. As in a shell, the default also replaces a
 * variable that is set but empty. A `${` in a value is not replaced again.
 */
export function interpolate(text: string, env: NodeJS.ProcessEnv): { text: string } | { problem: string } {
  let problem: string | undefined;
  const filled = text.replace(PLACEHOLDER, (whole: string, inner: string | undefined) => {
    if (whole === "$${") return "${";
    const reference = REFERENCE.exec(inner ?? "");
    if (reference === null) {
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the syntax itself is the subject.
      problem ??= "a ${…} that is not ${NAME} or ${NAME:-default}; write $${ where a literal ${ is meant";
      return "";
    }
    const [, name = "", fallback] = reference;
    const value = env[name];
    if (fallback !== undefined) return value === undefined || value === "" ? fallback : value;
    if (value === undefined) {
      problem ??= `the environment variable ${name} is not set; set it, in .env for example, or give a default: \${${name}:-…}`;
    }
    return value ?? "";
  });
  return problem === undefined ? { text: filled } : { problem };
}
