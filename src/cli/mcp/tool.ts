import type { z } from "zod";

/** An expected failure of a tool. Its text is for the agent, and says what to do next. */
export class ToolError extends Error {
  override readonly name = "ToolError";
}

/** The answer of a tool: the same for a reader and for a program. */
export interface ToolAnswer<T> {
  readonly text: string;
  readonly data: T;
  /** Whether the agent should see the answer as a failure. */
  readonly isFailure?: boolean;
}

/** One tool, whatever its input and output. */
export interface Tool {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly input: z.ZodObject;
  readonly output: z.ZodObject;
  /** Whether it asks another process than this one. */
  readonly isOpenWorld: boolean;
  /**
   * @param signal Ends the work, because nobody waits for the answer any more.
   * @throws {ToolError}
   */
  run(args: unknown, signal: AbortSignal): Promise<ToolAnswer<Readonly<Record<string, unknown>>>>;
}

/** As answers are made of parts that nobody changes any more. */
type Frozen<T> = T extends readonly (infer I)[]
  ? readonly Frozen<I>[]
  : T extends object
    ? { readonly [K in keyof T]: Frozen<T[K]> }
    : T;

type Definition<I extends z.ZodObject, O extends z.ZodObject> = Omit<Tool, "input" | "output" | "run"> & {
  readonly input: I;
  readonly output: O;
  run(args: z.output<I>, signal: AbortSignal): Promise<ToolAnswer<Frozen<z.input<O>>>>;
};

/** A tool from its definition, in which the types of input and output are known. */
export function defineTool<I extends z.ZodObject, O extends z.ZodObject>(definition: Definition<I, O>): Tool {
  const { input, run } = definition;
  return { ...definition, run: async (args, signal) => run(input.parse(args), signal) };
}
