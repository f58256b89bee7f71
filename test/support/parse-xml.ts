/** The elements and texts of an XML document, which throws if a tag is not closed or a character not escaped. */
export function parseXml(xml: string): { readonly names: string[]; readonly texts: string[] } {
  const names: string[] = [];
  const texts: string[] = [];
  const open: string[] = [];
  let end = 0;
  for (const match of xml.matchAll(/<(\/?)([a-z]+)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>/g)) {
    const text = xml.slice(end, match.index);
    if (/[<>]|&(?!(?:amp|lt|gt|quot);)/.test(text)) throw new Error(`not well-formed: ${text}`);
    if (text.trim() !== "") texts.push(unescapeXml(text));
    end = match.index + match[0].length;
    const [, closing, name = "", , empty] = match;
    if (closing === "/") {
      if (open.pop() !== name) throw new Error(`</${name}> closes nothing`);
    } else {
      names.push(name);
      if (empty !== "/") open.push(name);
    }
  }
  if (open.length > 0 || xml.slice(end).trim() !== "") throw new Error(`not closed: ${open}`);
  return { names, texts };
}

const unescapeXml = (text: string) =>
  text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&quot;", '"').replaceAll("&amp;", "&");
