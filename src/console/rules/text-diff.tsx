import { structuredPatch } from "diff";
import { type ReactNode, useMemo } from "react";
import { visibleText } from "../ui/visible-text.ts";

/** A longer difference is cut: nobody reads it, and the page would become slow. */
const LINES_MAX = 2_000;

interface TextDiffProps {
  readonly label: string;
  readonly before: string;
  readonly after: string;
}

const KINDS: Readonly<Record<string, string>> = { "+": "line-added", "-": "line-removed", "@": "line-place" };

/** The lines that differ between two texts. */
export function TextDiff({ label, before, after }: TextDiffProps): ReactNode {
  const lines = useMemo(() => {
    const { hunks } = structuredPatch("", "", before, after, "", "", { context: 3 });
    return hunks.flatMap(({ newStart, lines: own }) => [`@ line ${newStart}`, ...own]);
  }, [before, after]);
  if (lines.length === 0) return <p className="hint">The texts are the same.</p>;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: without it the keyboard cannot scroll the area.
    <section className="text-diff" aria-label={label} tabIndex={0}>
      <pre>
        {lines.slice(0, LINES_MAX).map((line, at) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: the lines of two texts never move.
          <span key={at} className={KINDS[line.charAt(0)]}>
            {visibleText(line)}
            {"\n"}
          </span>
        ))}
      </pre>
      {lines.length > LINES_MAX ? <p className="hint">The rest is not shown.</p> : null}
    </section>
  );
}
