// SPDX-License-Identifier: Apache-2.0
// Scans that are dropped on the page, or chosen, go to the service one after the other; each gets a
// row, the newest first, and a view. Their names stay in the browser: the kind of file alone is sent.

const waitingScans = [];
let sent = 0; // scans so far
let sending = false;

function cellsOf(name, found) {
  const decision = { true: "yes", false: "no" }[found.anomalous] ?? "";
  const remarks = [...(found.notes ?? []), ...(found.error ? [`not scored: ${found.error}`] : [])];
  const digits = (value, text) => (value === null || value === undefined ? ["", null] : [text(value), value]);
  return [
    [name, null],
    digits(found.object_score, (value) => value.toFixed(3)),
    digits(found.p_value, (value) => number(value)),
    [decision, null],
    digits(found.points, count),
    [remarks.join("; "), null],
  ];
}

function addRow(name, found, shows) {
  const row = document.createElement("tr");
  cellsOf(name, found).forEach(([text, value], column) => {
    const cell = document.createElement(column === 0 ? "th" : "td");
    if (column === 0) cell.scope = "row";
    if (value !== null) {
      cell.dataset.value = value;
      cell.className = "number";
    }
    const inner = document.createElement(column === 0 && shows !== null ? "button" : "span");
    inner.textContent = text;
    if (inner.tagName === "BUTTON") {
      inner.type = "button";
      inner.className = "shows";
    }
    cell.append(inner);
    row.append(cell);
  });
  if (found.anomalous) row.cells[3].style.fontWeight = "bold";
  if (shows !== null) row.dataset.shows = shows;
  row.dataset.place = -sent;
  document.querySelector("#listing tbody").prepend(row);
}

async function ask(file) {
  const kind = file.name.split(".").at(-1).toLowerCase();
  const address = `score?format=view&kind=${encodeURIComponent(kind)}`;
  for (;;) {
    const answer = await fetch(address, { method: "POST", body: file });
    if (answer.status !== 503) return answer.json();
    const seconds = Number(answer.headers.get("Retry-After") ?? 2);
    await new Promise((go) => { setTimeout(go, 1000 * seconds); });
  }
}

function say(text) { byId("drop-status").textContent = text; }

async function sendOne(file) {
  sent += 1;
  const name = `${sent}. ${file.name}`;
  say(`${name}: being scored${waitingScans.length > 0 ? `, ${waitingScans.length} waiting` : ""}`);
  let found = null;
  try {
    found = await ask(file);
  } catch (problem) {
    found = { error: `the service gave no answer (${problem.message})` };
  }
  let shows = null;
  if (found.view) {
    try {
      shows = await addCloud({ ...found.view.about, name }, found.view.data);
    } catch (problem) {
      (found.notes ??= []).push(`no view: ${problem.message}`);
    }
  }
  addRow(name, found, shows);
  if (shows !== null) markRow(shows);
  say(found.error ? `${name}: ${found.error}` : `${name}: score ${found.object_score.toFixed(3)}`);
}

async function sendScans(files) {
  waitingScans.push(...files);
  if (sending) return;
  sending = true;
  while (waitingScans.length > 0) await sendOne(waitingScans.shift());
  sending = false;
}

function makeDropZone() {
  const zone = document.createElement("label");
  zone.className = "drop";
  const input = document.createElement("input");
  input.type = "file";
  input.multiple = true;
  input.id = "drop-input";
  zone.append("Drop scans anywhere on this page, or choose them: ", input);
  const status = document.createElement("p");
  status.id = "drop-status";
  status.setAttribute("role", "status");
  byId("listing").prepend(zone, status);
  input.addEventListener("change", () => {
    sendScans([...input.files]);
    input.value = ""; // the same file may be chosen again
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    sendScans([...event.dataTransfer.files]);
  });
}

makeDropZone();
