// Keeps what the reader did across a live refresh: opened details stay open, a refresh that failed is said.
// Pages work without this file; it never builds HTML from text.
"use strict";

(function () {
  let opened = new Set();

  document.addEventListener("htmx:beforeSwap", function () {
    opened = new Set(Array.from(document.querySelectorAll("details[open][id]"), (each) => each.id));
  });

  document.addEventListener("htmx:afterSwap", function () {
    for (const id of opened) {
      const details = document.getElementById(id);
      if (details) details.open = true;
    }
  });

  function say(lost) {
    for (const note of document.querySelectorAll("[data-live-lost]")) note.hidden = !lost;
  }
  document.addEventListener("htmx:sendError", () => say(true));
  document.addEventListener("htmx:responseError", () => say(true));
  document.addEventListener("htmx:afterOnLoad", () => say(false));

  // A form that filters a list sends itself when a choice changes; without scripts there is the button.
  for (const form of document.querySelectorAll("form[data-send-on-change]")) {
    form.addEventListener("change", () => form.requestSubmit());
  }
})();
