"use strict";
// Choose a page's language: the reader's choice, otherwise the browser's. The pages of results and of serve.py use this.

let language = "en";

const remembered = (store, name, value) => { // null: the browser keeps nothing
  try { if (value === undefined) return store.getItem(name); store.setItem(name, value); } catch { return null; }
};

/** Let the buttons choose the language; call `show` now and after each choice. */
function chooseLanguage(show) {
  const choose = (chosen) => {
    language = chosen;
    document.documentElement.lang = { en: "en", zh: "zh-CN" }[language];
    for (const button of document.querySelectorAll("[data-language]"))
      button.setAttribute("aria-pressed", String(button.dataset.language === language));
    show();
  };
  for (const button of document.querySelectorAll("[data-language]")) button.addEventListener("click", () => {
    remembered(localStorage, "language", button.dataset.language);
    choose(button.dataset.language);
  });
  const kept = remembered(localStorage, "language");
  choose(["en", "zh"].includes(kept) ? kept : navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
}
