"use strict";
// Shows the records that hold the words in the search field, in any order, and opens the messages that hold one.
const root = document.querySelector(".harmony");
const field = root.querySelector("input[type=search]");
const count = root.querySelector("output");
const records = [...root.querySelectorAll(".record")];
const texts = new Map();

// Markers and tokens are left out: `message` would be found in every record.
function textOf(element) {
  if (!texts.has(element)) {
    const parts = element.querySelectorAll("h2, summary, .content, .diagnostic, .error, .ending");
    texts.set(element, [...parts].map((part) => part.textContent).join("\n").toLowerCase());
  }
  return texts.get(element);
}

function search() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const record of records) {
    record.hidden = !words.every((word) => textOf(record).includes(word));
    shown += !record.hidden;
    if (record.hidden || !words.length) continue;
    for (const message of record.querySelectorAll(".message")) {
      if (words.some((word) => textOf(message).includes(word))) message.open = true;
    }
  }
  count.textContent = words.length ? `${shown} of ${records.length} records` : "";
}

field.parentElement.hidden = false;
field.addEventListener("input", search);
