/** A part of the export that was not converted, and its location. */
export interface ImportProblem {
  /** Relative to the folder of the export. */
  readonly file: string;
  /** The role or filter, and the keys that lead there. */
  readonly at: string;
  /** The problem and its effect. */
  readonly message: string;
}

/** Collects the problems to report, each once. */
export class Report {
  readonly problems: ImportProblem[] = [];

  add(problem: ImportProblem): void {
    const text = JSON.stringify(problem);
    if (!this.problems.some((known) => JSON.stringify(known) === text)) this.problems.push(problem);
  }
}

/** Reports a problem at a location. */
export type NoteProblem = (at: string, message: string) => void;
