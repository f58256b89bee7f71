/** Features of the mongod of this run that some supported versions lack: `npm run test:servers` runs the tests on several. */
import { inject } from "vitest";

const major = Number.parseInt(inject("mongodbVersion"), 10);

/** The server can keep pre- and post-images, and reports the creation of collections. MongoDB 5.0 does neither. */
export const KEEPS_IMAGES = major >= 6;
/** Why a test is skipped there. */
export const NO_IMAGES = "MongoDB 5.0 keeps no pre- and post-images";

/**
 * The server refuses the same arguments of operators as the service. MongoDB 5.0 refuses a decimal `$size` and accepts
 * some that are no integers.
 */
export const CHECKS_ARGUMENTS_LIKE_US = major >= 6;

/** Change events carry the date of the write (`wallTime`). */
export const DATES_EVENTS = major >= 6;
/** Why a test is skipped where they do not. */
export const NO_DATES = "MongoDB 5.0 sends no date with a change event";
