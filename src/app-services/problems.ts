/** What could not be taken over, and where it stands. */
export interface ImportProblem {
  /** Under the folder that was read. */
  readonly file: string;
  /** The role or filter, and the keys that lead there. */
  readonly at: string;
  /** What it is, and what comes of it. */
  readonly message: string;
}

/** Collects what is to be told; each only once. */
export class Report {
  readonly problems: ImportProblem[] = [];

  add(problem: ImportProblem): void {
    const text = JSON.stringify(problem);
    if (!this.problems.some((known) => JSON.stringify(known) === text)) this.problems.push(problem);
  }
}

/** Tells of something wrong at a place. */
export type Tell = (at: string, message: string) => void;
