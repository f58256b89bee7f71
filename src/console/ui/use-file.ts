import { useState } from "react";
import { readText } from "./read-text.ts";

/** Reads files one after the other. */
export function useFile(onText: (text: string, name: string) => void) {
  const [error, setError] = useState<unknown>(null);
  const read = (file: File) => {
    setError(null);
    readText(file).then((text) => onText(text, file.name), setError);
  };
  /** `error` of the latest file; `null` if it was read. */
  return { read, error };
}
