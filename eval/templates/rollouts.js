// Shows the groups that the controls ask for. All text of the run is put in as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const form = document.getElementById("controls"), place = document.getElementById("groups");
const more = document.getElementById("more"), told = document.getElementById("told");
const AT_A_TIME = 20, NAMES = { advantage: "advantage", kl: "KL", reward: "reward" };
const pieces = new WeakMap();  // of an answer's element: its tokens, as text and numbers
let wanted = [], numShown = 0;

const number = value => value === null ? "unknown" : String(Number(value.toPrecision(4))).replace("-", "−");
const known = values => values.filter(value => value !== null);
const mean = values => values.length ? values.reduce((a, b) => a + b, 0) / values.length : null;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

for (const group of data.groups) {
  const scores = known(group.answers.map(answer => answer.score));
  group.best = Math.max(...scores);
  group.gap = scores.length ? group.best - Math.min(...scores) : 0;
  group.reward = mean(scores);
  group.meanKl = mean(known(group.answers.map(answer => answer.kl)));
  group.searched = [group.id, group.prompt, ...group.answers.flatMap(answer => [answer.text, ...(answer.rewards ?? []).map(([, , why]) => why)])].join("\n").toLowerCase();
  group.invents = group.answers.some(answer => answer.marks?.length);
}

// The tokens of an answer; one of its whole text where they are not known, and one of what stands behind them.
function tokensOf(answer) {
  const letters = Array.from(answer.text), found = [];
  const { lengths = [], ...columns } = answer.tokens ?? {};
  let start = 0;
  lengths.forEach((length, index) => {
    const values = Object.entries(columns).map(([name, column]) => [name, Array.isArray(column) ? column[index] : column]);
    found.push({ start, end: start += length, values: Object.fromEntries(values.map(([n, v]) => [n, v === null ? null : v / 1000])) });
  });
  if (start < letters.length) found.push({ start, end: letters.length, values: null });
  return { letters, found };
}

function paint(span, values) {
  const measure = form.elements.measure?.value, value = values?.[measure];
  const level = value ? Math.min(1, Math.abs(value) / data.scales[measure]) : 0;
  span.classList.toggle("plus", level > 0 && value > 0);
  span.classList.toggle("minus", level > 0 && value < 0);
  span.style.setProperty("--level", level.toFixed(3));
}

function textOf(answer, number) {
  const text = element("p", "text"), { letters, found } = tokensOf(answer), spans = [];
  const isMarked = new Set((answer.marks ?? []).flatMap(([from, to]) => letters.map((_, at) => at).slice(from, to)));
  for (const token of found) {
    const span = element("span");
    for (let from = token.start; from < token.end;) {
      let to = from + 1;
      while (to < token.end && isMarked.has(to) === isMarked.has(from)) to += 1;
      span.append(isMarked.has(from) ? element("mark", "", letters.slice(from, to).join("")) : letters.slice(from, to).join(""));
      from = to;
    }
    if (/^<[^<>\s]{1,30}>$/.test(span.textContent)) span.classList.add("structure");
    paint(span, token.values);
    spans.push({ span, values: token.values });
    text.append(span);
  }
  if (answer.cut) text.append(element("span", "structure", ` … (${answer.cut} more characters)`));
  if (answer.tokens) {
    text.tabIndex = 0;
    text.setAttribute("role", "group");
    text.setAttribute("aria-label", `answer ${number}; left and right arrow read its tokens: ${answer.text}`);
  }
  pieces.set(text, spans);
  return text;
}

function answerOf(group, answer, index) {
  const made = element("section", "answer"), head = element("h3");
  const score = element("span", "", "reward ");
  score.append(element("b", "", number(answer.score)));
  head.append(score);
  if (answer.kl !== null) head.append(element("span", "", `KL ${number(answer.kl)} nats`));
  if (answer.tokens) head.append(element("span", "", `${answer.tokens.lengths.length} tokens`));
  if (group.gap > 0 && answer.score === group.best) head.append(element("span", "badge", "best"));
  made.append(head, textOf(answer, index + 1));
  for (const [name, score, why] of answer.rewards ?? []) {
    const line = element("p", "why", `${name} `);
    if (score !== null) line.append(element("b", "", number(score)));
    if (why) line.append(element("span", "", why));
    made.append(line);
  }
  return made;
}

function groupOf(group) {
  const made = element("article", "group"), head = element("h2"), asked = element("div", "asked");
  for (const [name, value] of [["step", group.step], ["id", group.id], ["reward gap", number(group.gap)]]) {
    const part = element("span", "", `${name} `);
    part.append(element("b", "", value));
    head.append(part);
  }
  for (const index of group.pictures) {
    const image = element("img");
    image.src = data.pictures[index];
    image.alt = `picture of ${group.id}`;
    asked.append(image);
  }
  for (const name of group.missing) asked.append(element("div", "no-picture", `no picture ${name}`));
  asked.append(element("p", "prompt", group.prompt));
  const answers = element("div", "answers");
  answers.append(...group.answers.map((answer, index) => answerOf(group, answer, index)));
  made.append(head, asked, answers);
  return made;
}

function showMore() {
  place.append(...wanted.slice(numShown, numShown + AT_A_TIME).map(groupOf));
  numShown = Math.min(wanted.length, numShown + AT_A_TIME);
  more.hidden = numShown === wanted.length;
  document.getElementById("shown").textContent =
    `${wanted.length} of ${data.groups.length} groups found` + (more.hidden ? "" : `, the first ${numShown} are shown`);
}

function search() {
  const { search, from, to, gap, sort, invented } = form.elements;
  const words = search.value.toLowerCase().trim(), least = name => name.value === "" ? -Infinity : Number(name.value);
  wanted = data.groups.filter(group => group.searched.includes(words) && group.gap >= least(gap)
    && group.step >= least(from) && (to.value === "" || group.step <= Number(to.value)) && (!invented?.checked || group.invents));
  const sign = sort.value.startsWith("-") ? -1 : 1;
  const key = { step: "step", gap: "gap", reward: "reward", kl: "meanKl" }[sort.value.replace("-", "")];
  wanted.sort((a, b) => (a[key] === null) - (b[key] === null) || sign * (a[key] - b[key]));
  place.replaceChildren();
  told.hidden = true;
  numShown = 0;
  showMore();
}

function explain() {
  const measure = form.elements.measure?.value, legend = document.getElementById("legend");
  if (!legend) return;
  legend.hidden = measure === "none";
  if (legend.hidden) return;
  const [low, high] = [-1, 1].map(sign => number(sign * data.scales[measure]));
  [legend.firstElementChild.textContent, legend.lastElementChild.textContent] = [low, `+${high}`];
  legend.setAttribute("aria-label", `orange: ${NAMES[measure]} down to ${low}; blue: up to ${high}; no colour: 0`);
}

function tell(text, index) {
  document.querySelector(".at")?.classList.remove("at");
  const token = pieces.get(text)?.[index];
  told.hidden = !token?.values;
  if (told.hidden) return;
  text.dataset.at = index;
  token.span.classList.add("at");
  const numbers = Object.entries(token.values).map(([name, value]) => `${NAMES[name]} ${number(value)}`);
  told.textContent = `“${token.span.textContent.replaceAll("\n", "⏎")}”  ${numbers.join(" · ")}`;
}

function point(event) {
  const text = event.target.closest?.(".text"), spans = pieces.get(text) ?? [];
  const index = spans.findIndex(({ span }) => span.contains(event.target));
  if (index >= 0) tell(text, index);
}

place.addEventListener("click", point);
place.addEventListener("mouseover", point);
place.addEventListener("focusin", event => { if (pieces.has(event.target)) tell(event.target, Number(event.target.dataset.at ?? 0)); });
place.addEventListener("keydown", event => {
  if (!pieces.has(event.target)) return;
  const at = Number(event.target.dataset.at ?? 0), last = pieces.get(event.target).length - 1;
  const next = { ArrowRight: Math.min(last, at + 1), ArrowLeft: Math.max(0, at - 1), Home: 0, End: last }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  tell(event.target, next);
});
addEventListener("keydown", event => { if (event.key === "Escape") tell(null); });
form.addEventListener("submit", event => event.preventDefault());
form.addEventListener("input", event => {
  if (event.target.name !== "measure") return search();
  explain();
  for (const text of place.querySelectorAll(".text")) for (const { span, values } of pieces.get(text)) paint(span, values);
});
more.addEventListener("click", showMore);
form.hidden = false;
explain();
search();
