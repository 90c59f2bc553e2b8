// Boxes that scroll sideways can be reached and moved with the keyboard.
(() => {
  const SCROLLING = {
    "div.math": "Formula",
    ".scroll-box": "Table",
    "div.highlight pre": "Code",
    ".cell_output > .output": "Output",
  };

  function boxTables() {
    for (const table of document.querySelectorAll(".bd-article table")) {
      if (table.closest(".scroll-box")) continue;
      const box = document.createElement("div");
      box.className = "scroll-box";
      table.replaceWith(box);
      box.append(table);
    }
  }

  function makeReachable() {
    for (const [selector, name] of Object.entries(SCROLLING)) {
      for (const box of document.querySelectorAll(selector)) {
        const scrolls = box.scrollWidth > box.clientWidth + 1;
        if (scrolls) {
          box.tabIndex = 0;
          box.setAttribute("role", "group");
          box.setAttribute("aria-label", name);
        } else if (box.getAttribute("role") === "group") {
          box.removeAttribute("tabindex");
          box.removeAttribute("role");
          box.removeAttribute("aria-label");
        }
      }
    }
  }

  function ready() {
    boxTables();
    makeReachable();
    const observer = new ResizeObserver(makeReachable);
    for (const selector of Object.keys(SCROLLING)) {
      document.querySelectorAll(selector).forEach((box) => observer.observe(box));
    }
    window.MathJax?.startup?.promise?.then(makeReachable);
  }
  window.addEventListener("load", ready);
})();
