// The page: sends each input to the worker, and shows the answer. Contents are only ever set as text, never as HTML.
const $ = (id) => document.getElementById(id);
const form = $("question");
const fields = form.elements;

/** Inputs that are longer than this stay out of the page's address. */
const LONGEST_IN_ADDRESS = 50_000;
const HINTS = {
  text: "Text with the markers written out, such as <|channel|>final<|message|>Hi<|return|>",
  tokens: "Numbers, as a JSON list or with spaces or commas between them",
  messages: "harmony's JSON: a list of messages, or an object with the field `messages`",
  chat: "A request of the Chat Completions API, or only the list of its messages",
};
/** What stands before the viewer's page in its frame. The base keeps links to places of the page inside the frame. */
const FRAME = `<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark"><base href="about:srcdoc">`;
const END = { end: "<|end|>", call: "<|call|>", return: "<|return|>" };

// --- the state, in the form and in the address

function state() {
  const { kind, input, start, mode } = fields;
  return { kind: kind.value, start: start.value, mode: mode.value, input: input.value };
}

function setState({ kind, start, mode, input }) {
  if (kind in HINTS) fields.kind.value = kind;
  if (mode === "strict" || mode === "lenient") fields.mode.value = mode;
  fitKind();
  if ([...fields.start.options].some((option) => option.value === start && !option.disabled))
    fields.start.value = start;
  fields.input.value = input;
  // A field for text holds no carriage returns. Text that had some is not the same any more.
  const lost = fields.input.value !== input;
  note(lost ? "The field for input cannot hold carriage returns. Each became a line break. Take the ids instead." : "");
}

/** What depends on the kind of input: the hint, and whether the input is read or rendered. */
function fitKind() {
  const kind = fields.kind.value;
  const rendered = kind === "messages" || kind === "chat";
  $("hint").textContent = HINTS[kind];
  $("start-label").textContent = rendered ? "Render it as" : "It is";
  const [completion] = fields.start.options;
  completion.disabled = rendered;
  if (rendered && fields.start.value === "completion") fields.start.value = "prompt";
}

function fromAddress() {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  if (given.input === undefined) return false;
  setState(given);
  return true;
}

function toAddress() {
  const hash = new URLSearchParams(state()).toString();
  const fits = hash.length <= LONGEST_IN_ADDRESS;
  $("copy").disabled = !fits;
  $("copy").textContent = fits ? "Copy the address" : "The input is too long for the address";
  history.replaceState(null, "", fits ? `#${hash}` : location.pathname);
}

// --- questions and answers

let worker = startedWorker();
let hasStarted = false;
let busy = false;
let waiting = false;

function startedWorker() {
  const made = new Worker("worker.js", { type: "module" });
  made.onmessage = take;
  made.onerror = (event) => fail(event.message || "worker.js could not be loaded");
  return made;
}

function ask() {
  waiting = busy;
  if (busy) return;
  busy = true;
  document.body.setAttribute("aria-busy", "true");
  const { kind, input, start, mode } = state();
  worker.postMessage(JSON.stringify({ kind, input, start, strict: mode === "strict" }));
}

function take({ data }) {
  if (data.started) {
    hasStarted = true;
    $("status").textContent = "Python has started. The first input takes a moment longer.";
    return;
  }
  busy = false;
  document.body.setAttribute("aria-busy", "false");
  if (data.answer !== undefined) show(JSON.parse(data.answer));
  else if (!hasStarted) fail(data.failure);
  else {
    // An input that Python cannot hold, such as JSON that is nested too deeply, ends Python for good.
    worker.terminate();
    worker = startedWorker();
    fail(`${data.failure ?? "there was no answer"}. Python starts again: change the input`, "This input could not be read");
  }
  if (waiting) ask();
}

function fail(reason, what = "The playground does not work here") {
  $("status").textContent = `${what}: ${reason}`;
  $("status").classList.add("bad");
  $("results").hidden = true;
}

function note(text) {
  $("note").textContent = text;
  $("note").hidden = !text;
}

// --- showing an answer

let shown = null;

function show(answer) {
  shown = answer;
  $("results").hidden = answer.problem !== undefined;
  $("status").classList.toggle("bad", answer.problem !== undefined || answer.error !== null);
  if (answer.problem !== undefined) {
    $("status").replaceChildren("This input cannot be read. ", ...spelled(answer.problem));
    return;
  }
  $("status").textContent = summary(answer);
  $("faults").replaceChildren(...faults(answer));
  $("messages").replaceChildren(
    ...answer.messages.map((message, index) => article(message, answer.spans[index], answer.unit)),
  );
  $("use-messages").hidden = answer.messages.length === 0;
  $("findings").replaceChildren(...findings(answer));
  document.querySelectorAll(".excerpt").forEach(scrollToCaret);
  $("tokens").replaceChildren(...chips(answer));
  $("ids").textContent = answer.tokens.join(", ");
  $("text").replaceChildren(...spelled(answer.text ?? "One of the ids is no id of a token, so there is no text."));
  $("use-text").hidden = answer.text === null;
  $("view").hidden = answer.page === null;
  $("view").querySelector("iframe").srcdoc = answer.page === null ? "" : FRAME + answer.page;
}

function summary(answer) {
  const { messages, tokens, diagnostics, error } = answer;
  const parts = [counted(messages.length, "message"), counted(tokens.length, "token")];
  if (diagnostics.length) parts.push(counted(diagnostics.length, "repair"));
  if (error) parts.push(`an error, ${error.code}`);
  else if (answer.next_role) parts.push(`the turn of the ${answer.next_role} is open`);
  else if (!answer.complete) parts.push("not complete");
  return `${parts.join("; ")}. Parsed in ${(answer.seconds * 1000).toFixed(1)} ms. ${answer.note}`;
}

const counted = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

function faults({ error, diagnostics, unit, messages }) {
  if (!error) return diagnostics.map((found) => faultOf("repair", found, unit));
  const before = messages.length ? "The messages before that place:" : "No message stands before that place.";
  return [faultOf("error", error, unit), element("p", { className: "aside" }, before)];
}

function findings(answer) {
  if (!answer.findings.length) return [element("p", { className: "good" }, "Valid: the grammar accepts this.")];
  return answer.findings.map((found) => faultOf("fault", found, answer.unit));
}

function faultOf(word, { code, message, position, line, column, excerpt }, unit) {
  const place = line === undefined ? `${unit} ${position}` : `line ${line}, column ${column}`;
  const parts = [
    element(
      "p",
      {},
      element("strong", {}, word),
      " ",
      element("code", {}, code),
      " at ",
      placeOf(position, place, unit),
    ),
    element("p", {}, ...spelled(message)),
  ];
  if (excerpt !== undefined) parts.push(element("pre", { className: "excerpt" }, ...spelled(excerpt)));
  return element("div", { className: `fault ${word}` }, ...parts);
}

/** Where a pane is narrow, its part with the caret is shown. */
function scrollToCaret(excerpt) {
  const [line, caret] = excerpt.textContent.split("\n");
  excerpt.scrollLeft =
    (excerpt.scrollWidth * caret.length) / Math.max(line.length, caret.length) - excerpt.clientWidth / 2;
}

/** A button that goes to a place of the input, or to a token. */
function placeOf(position, text, unit) {
  if (position === null) return "no place";
  const button = element("button", { type: "button", className: "place" }, text);
  button.onclick = () => (unit === "token" ? goToToken(position) : select(position));
  return button;
}

function select(position) {
  const input = fields.input;
  const before = [...input.value].slice(0, position).join("").length; // Python counts characters, and pages count code units
  input.focus();
  input.setSelectionRange(before, before + 1);
}

function goToToken(position) {
  const chip = $("tokens").querySelectorAll(".token")[position];
  for (const other of $("tokens").querySelectorAll(".found")) other.classList.remove("found");
  chip?.classList.add("found");
  (chip ?? $("tokens")).scrollIntoView({ block: "center" });
  $("tokens").focus({ preventScroll: true });
}

function article(message, span, unit) {
  const { role, name, channel, recipient, content_type: type, content } = message;
  const words = [element("strong", {}, ...spelled(name ? `${role} ${name}` : role))];
  const known = ["analysis", "commentary", "final"].includes(channel) ? channel : "";
  if (channel) words.push(element("span", { className: `channel ${known}` }, ...spelled(channel)));
  for (const [word, field] of [
    ["to", recipient],
    ["type", type],
  ]) {
    if (field) words.push(element("span", {}, `${word} `, element("code", {}, ...spelled(field))));
  }
  const bodies = content.map((part) => element("pre", {}, ...spelled(part.text ?? JSON.stringify(part, null, 2))));
  const size = span ? `${counted(span.stop - span.content_start, unit)}, ` : "";
  const ending = span ? (span.end ? `ended by ${END[span.end]}` : "not ended") : "";
  const about = element("p", { className: "aside" }, size, ending);
  return element("article", { className: known }, element("h3", {}, ...words), ...bodies, about);
}

function chips({ shown: texts, tokens }) {
  const found = texts.map((text, index) => {
    const special = text === null || /^<\|[a-z_0-9]+\|>$/.test(text);
    const title = `token ${index}: id ${tokens[index]}`;
    const className = special ? "token special" : "token";
    return element("span", { className, title }, ...spelled(text ?? tokens[index]));
  });
  const more = tokens.length - texts.length;
  if (more > 0) {
    const ending = `${counted(more, "more token")}. The list of ids has all of them.`;
    found.push(element("p", { className: "aside" }, ending));
  }
  return found;
}

/** Text as nodes. The answer says which characters are written out, and how. */
function spelled(text) {
  const nodes = [];
  let run = "";
  for (const character of String(text)) {
    if (character in shown.unseen) {
      nodes.push(run, unseen(character));
      run = "";
    } else run += character;
  }
  return [...nodes, run].filter((node) => node !== "");
}

function unseen(character) {
  const node = element("span", { className: "unseen" }, character);
  node.dataset.written = shown.unseen[character];
  return node;
}

function element(name, properties, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

// --- what the user does

let timer = 0;

function changed() {
  fitKind();
  toAddress();
  ask();
}

form.addEventListener("input", ({ target }) => {
  if (target.id === "sample") return;
  $("sample").value = "";
  note("");
  clearTimeout(timer);
  timer = setTimeout(changed, target.id === "input" ? 150 : 0);
});
form.addEventListener("submit", (event) => event.preventDefault());

function use(kind, input, start = fields.start.value) {
  $("sample").value = "";
  setState({ ...state(), kind, input, start });
  changed();
  fields.input.focus();
}

$("use-text").onclick = () => use("text", shown.text);
$("use-tokens").onclick = () => use("tokens", shown.tokens.join(", "));
$("use-messages").onclick = () => use("messages", JSON.stringify(JSON.parse(shown.json), null, 2), "conversation");
$("copy").onclick = async () => {
  await navigator.clipboard.writeText(location.href);
  $("copy").textContent = "Copied";
};
addEventListener("hashchange", () => fromAddress() && changed());

const samples = await (await fetch("samples.json")).json();
$("sample").append(...samples.map(({ name }, index) => element("option", { value: index }, name)));
$("sample").onchange = ({ target }) => {
  if (target.value === "") return;
  setState({ ...state(), ...samples[target.value] });
  changed();
};
if (!fromAddress()) {
  setState({ ...state(), ...samples[0] });
  $("sample").value = "0";
}
changed();
