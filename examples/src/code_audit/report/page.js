"use strict";
// Filters the findings by text, rule and severity, and sorts every table by the column that is clicked.
(() => {
  const findings = document.getElementById("findings");
  if (findings) {
    const rows = [...findings.tBodies[0].rows];
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const search = document.getElementById("search");
    const rule = document.getElementById("rule");
    const shown = document.getElementById("shown");
    const tiles = [...document.querySelectorAll(".tile")];
    const filter = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const severities = tiles
        .filter((tile) => tile.getAttribute("aria-pressed") === "true")
        .map((tile) => tile.dataset.severity);
      let count = 0;
      rows.forEach((row, index) => {
        const matches =
          (!rule.value || row.dataset.rule === rule.value) &&
          (!severities.length || severities.includes(row.dataset.severity)) &&
          words.every((word) => texts[index].includes(word));
        row.hidden = !matches;
        count += matches;
      });
      shown.textContent =
        count === rows.length
          ? `${count.toLocaleString("en")} findings`
          : `${count.toLocaleString("en")} of ${rows.length.toLocaleString("en")} findings`;
    };
    search.addEventListener("input", filter);
    rule.addEventListener("change", filter);
    for (const tile of tiles) {
      tile.addEventListener("click", () => {
        const pressed = tile.getAttribute("aria-pressed") === "true";
        tile.setAttribute("aria-pressed", String(!pressed));
        filter();
      });
    }
  }

  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.key === undefined ? cell.textContent : Number(cell.dataset.key);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.tabIndex = 0;
      const sort = () => {
        const ascending = head.getAttribute("aria-sort") !== "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        const sign = ascending ? 1 : -1;
        const sorted = [...table.tBodies[0].rows].sort((a, b) => {
          const [x, y] = [key(a, column), key(b, column)];
          const order =
            typeof x === "number" && typeof y === "number"
              ? x - y
              : String(x).localeCompare(String(y), "en", { numeric: true });
          return sign * order;
        });
        table.tBodies[0].append(...sorted);
      };
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (event) => {
        if (event.key === "Enter") sort();
      });
    });
  }
})();
