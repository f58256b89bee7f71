/**
 * Prints figures about the structure of `src/`: public members and mutable fields of each class, import cycles, sizes
 * of files and functions, exports with a docstring, and the share of comments. Ends with 1 where a limit is broken.
 *
 *   node scripts/structure.mjs [--all | --quiet]
 *
 * `--all` lists every class and every export without a docstring, not only the largest; `--quiet` prints what breaks a
 * limit, and nothing else.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { SyntaxKind } from "typescript/unstable/ast";
import { API } from "typescript/unstable/sync";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SRC = join(ROOT, "src");
const PROJECTS = ["tsconfig.json", "src/demo/page/tsconfig.json", "src/console/tsconfig.json"];

const LIMITS = { linesOfFile: 400, publicMembers: 20, linesOfFunction: 70 };

const isAll = process.argv.includes("--all");
/** For checks: prints the faults alone. */
const isQuiet = process.argv.includes("--quiet");
const kindOf = (node) => SyntaxKind[node.kind];
const modifiersOf = (node) => new Set((node.modifiers ?? []).map(kindOf));
const nameOf = (node) => node.name?.text ?? node.name?.getText?.() ?? "";

/** @returns Source files of `src/` by their path below it. */
function readSources() {
  const api = new API();
  try {
    const openProjects = PROJECTS.map((path) => join(ROOT, path));
    const projects = api.updateSnapshot({ openProjects }).getProjects();
    const files = readdirSync(SRC, { recursive: true, encoding: "utf8" })
      .map((file) => file.replaceAll("\\", "/"))
      // Generated files are not for reading.
      .filter((file) => /\.tsx?$/.test(file) && !file.endsWith("_pb.ts"))
      .sort();
    return files.flatMap((file) => {
      const path = join(SRC, file);
      const found = projects.map(({ program }) => program.getSourceFile(path)).find(Boolean);
      return found === undefined ? [] : [measure(file, readFileSync(path, "utf8"), found)];
    });
  } finally {
    api.close();
  }
}

function measure(file, text, source) {
  const lines = text.trimEnd().split("\n");
  const lineOf = lineFinder(text);
  const measured = { file, lines: lines.length, classes: [], functions: [], exports: [], imports: [] };
  measured.commentLines = countCommentLines(lines);
  for (const statement of source.statements) {
    if (isImportOrReexport(statement)) measured.imports.push(toImport(file, statement));
    else if (modifiersOf(statement).has("ExportKeyword")) measured.exports.push(...toExports(statement));
  }
  const visit = (node, owner) => {
    const kind = kindOf(node);
    const isClass = kind === "ClassDeclaration" || kind === "ClassExpression";
    if (isClass) measured.classes.push(measureClass(node));
    const name = isClass || FUNCTIONS.has(kind) ? `${owner}${nameOf(node) || "(anonymous)"}` : owner;
    if (FUNCTIONS.has(kind) && node.body !== undefined) {
      const size = lineOf(node.end) - lineOf(node.getStart(source)) + 1;
      measured.functions.push({ name: `${file} ${name}`, lines: size });
    }
    node.forEachChild((child) =>
      visit(child, isClass ? `${name}.` : FUNCTIONS.has(kind) ? `${name} > ` : owner),
    );
  };
  source.forEachChild((child) => visit(child, ""));
  return measured;
}

const FUNCTIONS = new Set([
  "FunctionDeclaration",
  "FunctionExpression",
  "ArrowFunction",
  "MethodDeclaration",
  "Constructor",
  "GetAccessor",
  "SetAccessor",
]);

/** @returns A function from an offset to its line, counted from 0. */
function lineFinder(text) {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return (offset) => {
    let [low, high] = [0, starts.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (starts[middle] <= offset) low = middle;
      else high = middle;
    }
    return low;
  };
}

function countCommentLines(lines) {
  let count = 0;
  let isInside = false;
  for (const line of lines) {
    const text = line.trim();
    if (isInside || text.startsWith("/*") || text.startsWith("//")) count++;
    if (text.startsWith("/*")) isInside = true;
    if (isInside && text.includes("*/")) isInside = false;
  }
  return count;
}

function measureClass(node) {
  const names = new Set();
  let mutable = 0;
  let publicMutable = 0;
  for (const member of node.members) {
    const kind = kindOf(member);
    if (kind === "Constructor" || kind === "ClassStaticBlockDeclaration") continue;
    const modifiers = modifiersOf(member);
    const name = nameOf(member);
    const isPrivate =
      name.startsWith("#") || modifiers.has("PrivateKeyword") || modifiers.has("ProtectedKeyword");
    const isMutable = kind === "PropertyDeclaration" && !modifiers.has("ReadonlyKeyword");
    if (isMutable) mutable++;
    if (isMutable && !isPrivate) publicMutable++;
    // A getter and its setter are one member; a static one is no member of the instance.
    if (!isPrivate && !modifiers.has("StaticKeyword")) names.add(name);
  }
  return { name: nameOf(node), publicMembers: names.size, mutable, publicMutable };
}

const isImportOrReexport = (node) =>
  node.moduleSpecifier !== undefined && ["ImportDeclaration", "ExportDeclaration"].includes(kindOf(node));

/** @returns The file that is imported, `null` for a package, and whether the import vanishes at run time. */
function toImport(file, node) {
  const specifier = node.moduleSpecifier.text;
  const target = specifier.startsWith(".")
    ? relative(SRC, normalize(join(SRC, dirname(file), specifier))).replaceAll("\\", "/")
    : null;
  const clause = node.importClause ?? node.exportClause;
  const named = clause?.namedBindings?.elements ?? clause?.elements ?? [];
  const isTypeOnly =
    node.isTypeOnly === true ||
    clause?.isTypeOnly === true ||
    clause?.phaseModifier === SyntaxKind.TypeKeyword ||
    (clause?.name === undefined && named.length > 0 && named.every((element) => element.isTypeOnly));
  return { target, isTypeOnly };
}

function toExports(statement) {
  const isDocumented = (statement.jsDoc?.length ?? 0) > 0;
  const names =
    kindOf(statement) === "VariableStatement"
      ? statement.declarationList.declarations.map(nameOf)
      : [nameOf(statement)];
  return names.map((name) => ({ name, isDocumented }));
}

/** @returns Strongly connected components of more than one file (Tarjan). */
function cyclesOf(sources, wantsTypes) {
  const edges = new Map(
    sources.map(({ file, imports }) => [
      file,
      imports.flatMap(({ target, isTypeOnly }) =>
        target !== null && (wantsTypes || !isTypeOnly) ? [target] : [],
      ),
    ]),
  );
  const [index, low, stack, cycles] = [new Map(), new Map(), [], []];
  const connect = (file) => {
    index.set(file, index.size);
    low.set(file, index.get(file));
    stack.push(file);
    for (const next of edges.get(file) ?? []) {
      if (!edges.has(next)) continue;
      if (!index.has(next)) connect(next);
      if (stack.includes(next)) low.set(file, Math.min(low.get(file), low.get(next)));
    }
    if (low.get(file) !== index.get(file)) return;
    const component = stack.splice(stack.indexOf(file));
    if (component.length > 1) cycles.push(component.sort());
  };
  for (const file of edges.keys()) if (!index.has(file)) connect(file);
  return cycles;
}

function print(title, rows) {
  if (isQuiet) return;
  console.log(`\n${title}`);
  for (const row of rows) console.log(`  ${row}`);
  if (rows.length === 0) console.log("  none");
}

const percent = (part, whole) => `${((100 * part) / whole).toFixed(1)} %`;
const most = (rows, by, count) =>
  rows.toSorted((a, b) => b[by] - a[by]).slice(0, isAll ? rows.length : count);

const sources = readSources();
const faults = [];
const lines = sources.reduce((sum, source) => sum + source.lines, 0);
const classes = sources.flatMap(({ file, classes: own }) => own.map((each) => ({ ...each, file })));
const functions = sources.flatMap(({ functions: own }) => own);
const exported = sources.flatMap(({ file, exports: own }) => own.map((each) => ({ ...each, file })));
const documented = exported.filter(({ isDocumented }) => isDocumented);
const comments = sources.reduce((sum, source) => sum + source.commentLines, 0);

console.log(
  `${sources.length} files, ${lines} lines, ${classes.length} classes, ${functions.length} functions`,
);
console.log(`exports with a docstring: ${percent(documented.length, exported.length)} of ${exported.length}`);
console.log(`lines of comment: ${percent(comments, lines)}`);

print(
  "Classes (public members, mutable fields, of these public)",
  most(classes, "publicMembers", 15).map(
    ({ file, name, publicMembers, mutable, publicMutable }) =>
      `${String(publicMembers).padStart(3)} ${String(mutable).padStart(3)} ${String(publicMutable).padStart(3)}  ${name} (${file})`,
  ),
);
print(
  "Classes with public mutable fields",
  classes
    .filter((each) => each.publicMutable > 0)
    .map((each) => `${each.publicMutable}  ${each.name} (${each.file})`),
);
print(
  "Largest files",
  most(sources, "lines", 15).map((source) => `${String(source.lines).padStart(4)}  ${source.file}`),
);
print(
  "Longest functions",
  most(functions, "lines", 10).map((each) => `${String(each.lines).padStart(4)}  ${each.name}`),
);
const folders = new Map();
for (const each of exported) {
  const folder = each.file.includes("/") ? each.file.slice(0, each.file.lastIndexOf("/")) : ".";
  folders.set(folder, [...(folders.get(folder) ?? []), each]);
}
print(
  "Exports with a docstring, by folder",
  [...folders].map(([folder, own]) => {
    const count = own.filter(({ isDocumented }) => isDocumented).length;
    return `${percent(count, own.length).padStart(7)} of ${String(own.length).padStart(3)}  ${folder}`;
  }),
);
if (isAll) {
  const bare = exported.filter(({ isDocumented }) => !isDocumented);
  print(
    "Exports without a docstring",
    bare.map(({ file, name }) => `${file} ${name}`),
  );
}
for (const [title, wantsTypes] of [
  ["Import cycles at run time", false],
  ["Import cycles, types included", true],
]) {
  const cycles = cyclesOf(sources, wantsTypes);
  print(
    title,
    cycles.map((files) => files.join(", ")),
  );
  faults.push(...cycles.map((files) => `cycle: ${files.join(", ")}`));
}
for (const { file, lines: size } of sources)
  if (size > LIMITS.linesOfFile) faults.push(`${file} has ${size} lines`);
for (const { file, name, publicMembers } of classes)
  if (publicMembers > LIMITS.publicMembers)
    faults.push(`${name} (${file}) has ${publicMembers} public members`);
for (const { name, lines: size } of functions)
  if (size > LIMITS.linesOfFunction) faults.push(`${name} has ${size} lines`);
print(`Over the limits ${JSON.stringify(LIMITS)}`, faults);
if (isQuiet) for (const fault of faults) console.error(fault);
process.exitCode = faults.length === 0 ? 0 : 1;
