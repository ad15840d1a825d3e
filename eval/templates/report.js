// Filters the answers by the address's fragment, such as #outcome=broken&bench=pope, which the buttons set.
const cards = [...document.querySelectorAll(".card")];
const buttons = [...document.querySelectorAll("[data-key]")];
const keys = [...new Set(buttons.map(button => button.dataset.key))];
const wanted = {};

function show() {
  const asked = new URLSearchParams(location.hash.slice(1));
  for (const key of keys) {
    const known = buttons.some(button => button.dataset.key === key && button.dataset.value === asked.get(key));
    wanted[key] = known ? asked.get(key) : "all";
  }
  for (const button of buttons) {
    button.setAttribute("aria-pressed", button.dataset.value === wanted[button.dataset.key]);
  }
  for (const card of cards) {
    card.hidden = !keys.every(key => wanted[key] === "all" || card.dataset[key] === wanted[key]);
  }
  const count = cards.filter(card => !card.hidden).length;
  document.getElementById("shown").textContent = `${count} of ${cards.length} answers shown`;
}

for (const button of buttons) {
  button.addEventListener("click", () => {
    const fragment = new URLSearchParams({ ...wanted, [button.dataset.key]: button.dataset.value });
    history.replaceState(null, "", "#" + fragment);
    show();
  });
}
addEventListener("hashchange", () => { if (location.hash.includes("=")) show(); });
document.getElementById("filters").hidden = false;
show();
