import { type ReactNode, useRef } from "react";

interface FileButtonProps {
  /** The name of the field for assistive technology. */
  readonly label: string;
  readonly children: string;
  readonly onFile: (file: File) => void;
}

/** A button that opens a file of YAML or JSON. */
export function FileButton({ label, children, onFile }: FileButtonProps): ReactNode {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <input
        ref={input}
        type="file"
        className="visually-hidden"
        accept=".yaml,.yml,.json"
        aria-label={label}
        tabIndex={-1}
        onChange={({ target }) => {
          const file = target.files?.[0];
          if (file !== undefined) onFile(file);
          // The same file can be chosen again, for example after it was corrected.
          target.value = "";
        }}
      />
      <button type="button" onClick={() => input.current?.click()}>
        {children}
      </button>
    </>
  );
}
