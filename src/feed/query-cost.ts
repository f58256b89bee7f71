/** The measured cost of one live query; written by the meter alone. */
export class QueryCost {
  /** Mean time for one commit, in milliseconds; weighted towards the latest. */
  perCommitMs = 0;
  /** Time since the last judgement. */
  spentMs = 0;
  isBusy = false;
}
