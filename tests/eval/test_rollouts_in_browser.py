"""What the script of the page of rollouts does, in a real browser."""

import re

from tests.eval.test_report import needs_chromium, opened
from tests.eval.test_rollouts import line, page_of, tokens, write

ACTS = """<script>
const say = (name, value) => document.body.setAttribute("data-" + name, value);
const set = (name, value) => { form.elements[name].value = value;
  form.elements[name].dispatchEvent?.(new Event("input", { bubbles: true })); };
const steps = () => [...document.querySelectorAll(".group h2 span:first-child")].map(e => e.textContent).join();
const text = document.querySelector(".text");
const key = name => text.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
const numbers = () => told.hidden ? "hidden" : told.textContent;
const level = span => span.className + span.style.getPropertyValue("--level");
say("levels", [...text.querySelectorAll("span")].map(level).join(" "));
key("Home"); say("first", numbers());
key("ArrowRight"); say("second", numbers());
key("End"); say("last", numbers());
key("Escape"); say("left", numbers());
document.querySelector("input[value=kl]").click(); say("kl", document.querySelectorAll(".plus, .minus").length);
set("gap", "0.5"); say("gap", steps()); set("gap", "0");
set("from", "2"); say("from", steps()); set("from", "1"); set("sort", "-gap"); say("sorted", steps());
set("search", "DOG"); say("found", steps()); say("marks", document.querySelectorAll("mark").length);
</script>"""


@needs_chromium
def test_a_browser_colours_filters_sorts_and_reads_tokens_by_keys(tmp_path):
    known = tokens(["a \U0001f600", " <b>cat", "</s>"], [1.0, -0.5, 0.0], [0.0, 0.002, 0.0], [0.0, 0.0, 3.0])
    write(
        tmp_path,
        line(1, "a", ["a \U0001f600 <b>cat"], tokens=[known]),
        line(2, "b", ["x", "a dog"], (0.0, 2.0)),
        line(3, "c", ["x", "y"], (0.0, 1.0)),
    )
    page = page_of(tmp_path)
    (tmp_path / "acts.html").write_text(page.replace("</body>", ACTS + "</body>"))
    dom = opened(tmp_path / "acts.html", tmp_path)
    said = dict(re.findall(r' data-(\w+)="([^"]*)"', re.search("<body[^>]*>", dom)[0]))
    levels = said.pop("levels").split(" ")
    assert levels == ["plus1.000", "minus0.505", "structure0.000"]
    assert said == {
        "first": "“a \U0001f600”  advantage 1 · KL 0 · reward 0",
        "second": "“ &lt;b&gt;cat”  advantage −0.5 · KL 0.002 · reward 0",
        "last": "“&lt;/s&gt;”  advantage 0 · KL 0 · reward 3",
        "left": "hidden",
        "kl": "1",
        "gap": "step 2,step 3",
        "from": "step 2,step 3",
        "sorted": "step 2,step 3,step 1",
        "found": "step 2",
        "marks": "0",
    }
