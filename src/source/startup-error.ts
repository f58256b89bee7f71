/**
 * The service cannot start with its configuration. This is an expected failure whose text is meant for the admin, so it
 * is printed without a stack. It names every problem at once, each with what to do about it.
 */
export class StartupError extends Error {
  override readonly name = "StartupError";
  readonly problems: readonly string[];

  constructor(summary: string, problems: readonly string[] = [], options?: ErrorOptions) {
    super([summary, ...problems.map((problem) => `- ${problem}`)].join("\n"), options);
    this.problems = problems;
  }
}
