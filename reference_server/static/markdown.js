/**
 * Renders the Markdown that models write: headings, paragraphs, lists, quotes, code, bold and italics. Everything else
 * stays plain text. HTML, images and links are not rendered, so an answer cannot run code, fetch anything or deceive with
 * a link.
 */

const ITEM = /^( *)(?:[-*+]|(\d{1,9})[.)]) +(.*)$/s;
const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^\s*][^*]*)\*/g;

/** Show `text` in `into`. When called again with a longer text, it does not touch blocks that have not changed. */
export function render(into, text) {
  const wanted = blocks(text);
  wanted.forEach((block, index) => {
    const source = `${block.kind}\n${block.lines.join("\n")}`;
    const current = into.children[index];
    if (current?.source === source) return;
    const element = BUILD[block.kind](block);
    element.source = source;
    element.dir = "auto";
    if (current) current.replaceWith(element);
    else into.append(element);
  });
  while (into.children.length > wanted.length) into.lastElementChild.remove();
}

function blocks(text) {
  const result = [];
  let open = null; // the block that the next line may belong to
  for (const line of text.split("\n")) {
    if (open?.kind === "code") {
      if (line.trim() === "```") open = null;
      else open.lines.push(line);
      continue;
    }
    const kind = kindOf(line);
    if (kind === null) {
      open = null;
    } else if (kind === open?.kind && kind !== "heading") {
      open.lines.push(line);
    } else if (kind === "text" && (open?.kind === "bullets" || open?.kind === "numbers")) {
      open.lines[open.lines.length - 1] += ` ${line.trim()}`;
    } else {
      open = { kind, lines: kind === "code" ? [] : [line] };
      result.push(open);
    }
  }
  return result;
}

function kindOf(line) {
  if (!line.trim()) return null;
  if (line.startsWith("```")) return "code";
  if (/^#{1,6} /.test(line)) return "heading";
  if (line.startsWith(">")) return "quote";
  const item = ITEM.exec(line);
  if (item) return item[2] === undefined ? "bullets" : "numbers";
  return "text";
}

const BUILD = {
  text: ({ lines }) => inline("p", lines.join("\n")),
  heading: ({ lines }) => inline("h3", lines[0].replace(/^#+ /, "")),
  quote: ({ lines }) => inline("blockquote", lines.map((line) => line.replace(/^> ?/, "")).join("\n")),
  bullets: ({ lines }) => list("ul", lines),
  numbers: ({ lines }) => list("ol", lines),
  code: ({ lines }) => {
    const code = document.createElement("pre");
    code.tabIndex = 0; // focusable, so that the keyboard can scroll it sideways
    code.append(inlineCode(lines.join("\n")));
    return code;
  },
};

function list(name, lines) {
  const element = document.createElement(name);
  if (name === "ol") element.start = Number(ITEM.exec(lines[0])[2]);
  for (const line of lines) {
    const [, indent, , text] = ITEM.exec(line);
    const item = inline("li", text);
    if (indent.length > 1) item.className = "deeper";
    element.append(item);
  }
  return element;
}

function inline(name, text) {
  const element = document.createElement(name);
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    const [all, code, strong, em] = match;
    element.append(text.slice(at, match.index));
    if (code !== undefined) element.append(inlineCode(code));
    else element.append(inline(strong === undefined ? "em" : "strong", strong ?? em));
    at = match.index + all.length;
  }
  element.append(text.slice(at));
  return element;
}

function inlineCode(text) {
  const element = document.createElement("code");
  element.textContent = text;
  return element;
}
