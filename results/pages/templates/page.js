// Show one of the two languages of a page, and fade the edges of boxes that can be scrolled further.

const ATTRIBUTES = ["aria-label", "title", "alt", "label", "placeholder"];

function speak() {
  for (const attribute of ATTRIBUTES) for (const item of document.querySelectorAll(`[data-zh-${attribute}]`)) {
    if (!item.hasAttribute(`data-en-${attribute}`)) item.setAttribute(`data-en-${attribute}`, item.getAttribute(attribute));
    item.setAttribute(attribute, item.getAttribute(`data-${language}-${attribute}`));
  }
  document.title = document.querySelector("h1").innerText;
  document.dispatchEvent(new Event("language")); // scripts write their own texts again
}

for (const box of document.querySelectorAll(".scroll, pre")) {
  const tell = () => {
    box.classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
    box.classList.toggle("below", box.scrollTop + box.clientHeight < box.scrollHeight - 1);
  };
  box.addEventListener("scroll", tell, { passive: true });
  const observer = new ResizeObserver(tell);
  for (const item of [box, ...box.children]) observer.observe(item);
}

document.querySelector(".languages").hidden = false; // without scripts a page is in English only
chooseLanguage(speak);
