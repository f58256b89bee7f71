// Writes the TypeScript of the messages in proto/. `npm run generate:proto` runs it without a build, which needs them.
//
//   node scripts/generate-messages.mjs [FOLDER]
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const { resolve } = createRequire(import.meta.url);
const binOf = (name, program) => join(dirname(resolve(`${name}/package.json`)), "bin", program);
const FOLDER = "src/gateway/grpc";

/** @param folder Receives `tidewire/v1/live_queries_pb.ts`; relative to the root of the project, or absolute. */
function generateMessages(folder) {
  const plugin = {
    local: [process.execPath, binOf("@bufbuild/protoc-gen-es", "protoc-gen-es")],
    out: folder,
    // Node runs the result as it is, without a compiler.
    opt: ["target=ts", "import_extension=ts", "erasable_syntax=true"],
  };
  const template = JSON.stringify({ version: "v2", plugins: [plugin] });
  const buf = binOf("@bufbuild/buf", "buf");
  execFileSync(process.execPath, [buf, "generate", "proto", "--template", template], { cwd: ROOT });
}

generateMessages(process.argv[2] ?? FOLDER);
