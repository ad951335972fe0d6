// Keeps what is marked data-live as the server now has it. Everything works without.
"use strict";

const EVERY = 2000;
const pulse = document.getElementById("pulse");

// Changes only what differs, so that focus, selection and scrolling stay where they are.
function become(now, next) {
  if (now.nodeType !== next.nodeType || now.nodeName !== next.nodeName) {
    now.replaceWith(next);
    return;
  }
  if (now.nodeType !== Node.ELEMENT_NODE) {
    if (now.nodeValue !== next.nodeValue) now.nodeValue = next.nodeValue;
    return;
  }
  for (const { name } of [...now.attributes]) if (!next.hasAttribute(name)) now.removeAttribute(name);
  for (const { name, value } of next.attributes) if (now.getAttribute(name) !== value) now.setAttribute(name, value);
  const here = [...now.childNodes];
  const there = [...next.childNodes];
  there.forEach((child, number) => (number < here.length ? become(here[number], child) : now.append(child)));
  here.slice(there.length).forEach((child) => child.remove());
}

async function look() {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = part.id && page.getElementById(part.id);
      if (next) become(part, next);
    }
    pulse.textContent = "";
  } catch {
    pulse.textContent = "Not live: the console does not answer.";
  }
}

// One look at a time, and a fifth of the time at most: a page of five hundred Reflections takes its server a while.
async function follow() {
  const began = performance.now();
  await look();
  setTimeout(follow, Math.max(EVERY, 4 * (performance.now() - began)));
}

if (document.querySelector("[data-live]")) setTimeout(follow, EVERY);

// What was done is told once, not again when the page is loaded anew.
if (new URLSearchParams(location.search).has("done")) history.replaceState(null, "", location.pathname);

document.getElementById("wrong")?.focus();
document.getElementById("plan")?.scrollIntoView({ block: "start" });

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
}
