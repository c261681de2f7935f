// Click a column's head to sort by it. Without this script the tables read the same, in their own order.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.title = "Sort by this column";
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const descending = head.getAttribute("aria-sort") !== "descending";
      table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const rows = [...body.rows].map((row) => [value(row), row]);
      const blank = (text) => text === "" || text === "\u2013";
      rows.sort(([a], [b]) => {
        if (blank(a) || blank(b)) return blank(a) - blank(b);
        const order = isNaN(a) || isNaN(b) ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
        return descending ? -order : order;
      });
      body.append(...rows.map(([, row]) => row));
    };
  });
}
