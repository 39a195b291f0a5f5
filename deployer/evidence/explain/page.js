"use strict";
(() => {
  const box = document.getElementById("search");
  const found = document.getElementById("found");
  const logs = [...document.querySelectorAll("details[data-search]")];
  const before = new Map(logs.map((log) => [log, log.open]));

  const marked = (line, words) => {
    const text = line.textContent;
    line.textContent = "";
    const lower = text.toLowerCase();
    let done = 0;
    for (let at = lower.indexOf(words); words && at >= 0; at = lower.indexOf(words, done)) {
      line.append(text.slice(done, at));
      const mark = document.createElement("mark");
      mark.textContent = text.slice(at, at + words.length);
      line.append(mark);
      done = at + words.length;
    }
    line.append(text.slice(done));
  };

  const search = () => {
    const words = box.value.trim().toLowerCase();
    let lines = 0;
    for (const log of logs) {
      let here = 0;
      for (const line of log.querySelectorAll(".l")) {
        const fits = !words || line.textContent.toLowerCase().includes(words);
        line.classList.toggle("hidden", !fits);
        here += fits ? 1 : 0;
        if (line.querySelector("mark") || (words && fits)) marked(line, words);
      }
      log.classList.toggle("hidden", Boolean(words) && here === 0);
      log.open = words ? here > 0 : before.get(log);
      lines += here;
    }
    found.textContent = words ? `${lines} line${lines === 1 ? "" : "s"}` : "";
  };

  for (const log of logs) {
    const toEnd = () => { const text = log.querySelector("pre"); text.scrollTop = box.value ? 0 : text.scrollHeight; };
    log.addEventListener("toggle", toEnd); // the last words are the telling ones
    if (log.open) toEnd();
  }
  if (box) {
    box.addEventListener("input", search);
    document.addEventListener("keydown", (event) => {
      if (event.key === "/" && document.activeElement !== box) {
        event.preventDefault();
        box.focus();
      }
    });
  }
  for (const button of document.querySelectorAll("button[data-open]")) {
    button.addEventListener("click", () => logs.forEach((log) => { log.open = button.dataset.open === "yes"; }));
  }
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.addEventListener("click", async () => {
      const text = button.previousElementSibling.textContent;
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(button.previousElementSibling);
        button.textContent = "selected";
      }
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
  }
})();
