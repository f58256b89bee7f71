import type { TryForm } from "./try-request.ts";

const BLANK: TryForm = {
  from: "claims",
  user: '{ "sub": "ada" }',
  connection: "",
  collection: "",
  filter: "",
  documentId: "",
};

let form = BLANK;
let wasTried = false;

/**
 * The form while the page is open, so that an admin may edit the draft in between. It may hold a token, and is
 * therefore kept nowhere else.
 */
export const readForm = (): { readonly form: TryForm; readonly wasTried: boolean } => ({ form, wasTried });

/** Keeps the form. @param isTried Whether its request was sent. */
export function keepForm(edited: TryForm, isTried: boolean): void {
  form = edited;
  wasTried = isTried;
}
