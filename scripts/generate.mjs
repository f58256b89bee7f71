// Writes what is derived from the schemas: `npm run generate`, after an option was added or changed.
import { writeFileSync } from "node:fs";
import { openApi } from "../dist/admin/api/openapi.js";
import { configJsonSchema } from "../dist/config/json-schema.js";
import { configReference } from "../dist/config/reference.js";

const at = (path) => new URL(`../${path}`, import.meta.url);

writeFileSync(at("docs/configuration.md"), configReference());
writeFileSync(at("config/tidewire.schema.json"), `${JSON.stringify(configJsonSchema(), null, 2)}\n`);
writeFileSync(at("docs/admin-api.json"), `${JSON.stringify(openApi(), null, 2)}\n`);
