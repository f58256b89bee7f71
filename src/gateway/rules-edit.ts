/** The effect of a rule edit on active subscriptions. */
export interface RulesEffect {
  readonly changed: number;
  readonly ended: number;
}

/** Details of an edit of the rules. */
export interface RulesEdit {
  /** Called in the turn in which the rules take effect. */
  readonly atOnce?: () => void;
  /** A cluster time at which the rules were in force already; the head of the stream may be older. Default: the head. */
  readonly at?: bigint;
  /** See `RuleTimes.replace`. */
  readonly wasInterrupted?: (identity: string) => boolean;
  /** Asked when the turn of the edit has come: another edit may have been faster. */
  readonly isWanted?: () => boolean;
}
