// SPDX-License-Identifier: Apache-2.0
// The page as a whole: what both panes share, the controls and the keys.
//
// `window.iv` is for tests and for whoever scripts the page:
//   iv.ready          promise: both panes show a cloud
//   iv.panes          the Pane objects, one beside a table, else two; pane.k3d is K3D's own object
//   iv.state()        {category, colouring, threshold, marking, beside, linked, active, theme, range,
//                      panes: [{name, points, facing, lines, size, camera, rates}]}: points given
//                      to the GPU, those of them that face the camera, and lines of forces
//   iv.show(pane, i)  promise: shows cloud i of the index in pane 0 or 1
//   iv.open(i)        promise: shows it as its row of the table does, from where it shows most
//   iv.add(about, data)  promise of its number: adds a cloud, an entry of the index and base64

const COLOURINGS = {
  label: "label", displacement: "displacement", score: "score", force: "predicted force",
  plain: "plain surface",
};
const RAMP_NAMES = {
  score: "point score", displacement: "moved by (radii)", force: "predicted to be moved by (radii)",
};
const byId = (id) => document.getElementById(id);
const view = {
  colouring: index.colouring, threshold: 0, marking: false, range: [0, 1], size: 1,
  beside: index.labels_beside, // one cloud in both panes, by its labels on the right
};
const page = { panes: [], active: 0, linked: true, category: index.categories[0], moving: false };

function inCategory() {
  return index.clouds.filter((about) => about.category === page.category);
}

function available(colouring) {
  if (colouring === "displacement") return inCategory().some((about) => about.displacement_step !== null);
  if (colouring === "score") return inCategory().some((about) => about.score_step !== null);
  if (colouring === "force") return inCategory().some((about) => about.force_step !== null);
  if (colouring === "label" && index.panes === 1) return inCategory().some((about) => about.labelled);
  return true;
}

function findRange() {
  if (view.colouring === "score") {
    const scored = inCategory().filter((about) => about.score_step !== null);
    return [Math.min(...scored.map((about) => about.score_range[0])),
      Math.max(...scored.map((about) => about.score_range[1]))];
  }
  const reach = view.colouring === "force"
    ? (about) => (about.strongest ?? 0) / about.radius : (about) => about.largest ?? 0;
  return [0, Math.max(0, ...inCategory().map(reach))];
}

function fillLegend() {
  const entries = [];
  if (view.colouring === "score" && view.marking) {
    entries.push(["labelled and detected", PALETTE.hit], ["labelled, missed", PALETTE.missed],
      ["false alarm", PALETTE.false_alarm], ["normal", PALETTE.normal]);
  } else if (view.marking) {
    entries.push(["labelled, above", PALETTE.hit], ["labelled, below", PALETTE.missed],
      ["unlabelled, above", PALETTE.false_alarm], ["normal", PALETTE.normal]);
  } else if (view.colouring === "displacement") {
    entries.push(["normal", PALETTE.normal], ["exposed by a cut", PALETTE.exposed]);
  } else if (view.colouring === "plain") entries.push(["surface, labels hidden", PALETTE.normal]);
  if (view.colouring === "label" || view.beside) {
    entries.push(["normal", PALETTE.normal], ["labelled anomalous", PALETTE.anomaly]);
    if (inCategory().some((about) => about.exposed > 0)) entries.push(["exposed by a cut", PALETTE.exposed]);
  }
  byId("legend").replaceChildren(...entries.map(([text, colour]) => {
    const entry = document.createElement("li");
    const dot = document.createElement("i");
    dot.style.background = cssColour(colour);
    entry.append(dot, text);
    return entry;
  }));
}

function fillRamp() {
  const scaled = view.colouring in RAMP_NAMES;
  byId("ramp").hidden = !scaled;
  if (!scaled) return;
  const [low, high] = view.range;
  byId("ramp-name").textContent = RAMP_NAMES[view.colouring];
  byId("ramp-bar").style.background = `linear-gradient(to right, ${SCALE.map(cssColour).join(", ")})`;
  const digits = Math.min(Math.max(2 - Math.floor(Math.log10(high - low || 1)), 0), 8);
  byId("ramp-ticks").replaceChildren(...[0, 0.25, 0.5, 0.75, 1].map((share) => {
    const tick = document.createElement("span");
    tick.textContent = (low + share * (high - low)).toFixed(digits);
    return tick;
  }));
  byId("threshold-value").textContent = number(view.threshold, 4);
  byId("threshold").setAttribute("aria-valuetext", number(view.threshold, 4));
  byId("mark").checked = view.marking;
}

function refresh() {
  fillLegend();
  fillRamp();
  return Promise.all(page.panes.map((pane) => pane.recolour()));
}

function readThreshold() {
  const [low, high] = view.range;
  view.threshold = low + (Number(byId("threshold").value) / 1000) * (high - low);
}

function setColouring(colouring) {
  view.colouring = colouring;
  view.marking = false;
  view.range = findRange();
  byId("colouring").value = colouring;
  byId("threshold").value = "500";
  readThreshold();
  return refresh();
}

function fillColourings() {
  const forces = index.clouds.some((about) => about.force_step !== null);
  const offered = Object.entries(COLOURINGS).filter(([key]) => key !== "force" || forces);
  byId("colouring").replaceChildren(...offered.map(([key, text]) => {
    const entry = option(key, text);
    entry.disabled = !available(key);
    return entry;
  }));
  return [view.colouring, "label", "plain"].find(available);
}

async function setCategory(category, shown = undefined) {
  page.category = category;
  byId("category").value = category;
  const colouring = fillColourings();
  page.panes.forEach((pane) => pane.setCategory(category));
  fillCategory(category);
  const [left, right] = page.panes;
  const first = shown ?? firstRow() ?? left.first();
  await Promise.all([left.show(first), view.beside ? null : right?.show(shown ?? right.first())]);
  await setColouring(colouring);
}

// The numbers and the rows of the table that are of the category.
function fillCategory(category) {
  for (const list of document.querySelectorAll("#figures dl")) {
    list.hidden = list.dataset.category !== category;
  }
  for (const row of document.querySelectorAll("#listing tr[data-shows]")) {
    row.hidden = index.clouds[row.dataset.shows].category !== category;
  }
}

// What the first row of the table that is seen opens; undefined where there is none.
function firstRow() {
  const row = document.querySelector("#listing tr[data-shows]:not([hidden])");
  return row === null ? undefined : Number(row.dataset.shows);
}

async function setBeside(beside) {
  view.beside = beside && page.panes.length > 1;
  byId("beside").checked = view.beside;
  byId("viewer").classList.toggle("beside", view.beside);
  if (view.beside && page.panes[0].wanted >= 0) await page.panes[1].show(page.panes[0].wanted);
  return refresh();
}

function setMarking(marking) {
  view.marking = marking && !byId("ramp").hidden;
  return refresh();
}

function setActive(place) {
  page.active = place;
  page.panes.forEach((pane, i) => pane.root.classList.toggle("active", i === place));
}

function setLinked(linked) {
  page.linked = linked;
  byId("link").checked = linked;
  if (linked) page.panes.at(-1 - page.active).k3d.setCamera(page.panes[page.active].camera());
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
}

function link(from, to) {
  from.k3d.on(from.k3d.events.CAMERA_CHANGE, (camera) => {
    if (!page.linked || page.moving) return;
    page.moving = true; // or the other pane would answer
    to.k3d.setCamera(camera);
    page.moving = false;
  });
}

const KEYS = {
  ArrowLeft: () => page.panes[page.active].stepSample(-1),
  ArrowRight: () => page.panes[page.active].stepSample(1),
  ArrowUp: () => page.panes[page.active].stepGroup(-1),
  ArrowDown: () => page.panes[page.active].stepGroup(1),
  1: () => setActive(0),
  2: () => setActive(page.panes.length - 1),
  c: () => {
    const usable = Object.keys(COLOURINGS).filter(available);
    return setColouring(usable[(usable.indexOf(view.colouring) + 1) % usable.length]);
  },
  t: () => setMarking(!view.marking),
  b: () => setBeside(!view.beside),
  l: () => setLinked(!page.linked),
  r: () => resetView(),
  f: () => page.panes[page.active].face(),
  d: () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"),
  "?": () => byId("help").showModal(),
};

function resetView() {
  if (page.linked) page.panes[page.active]?.lookFrom(FRONT);
  else page.panes.forEach((pane) => pane.lookFrom(FRONT));
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const arrow = event.key.startsWith("Arrow");
  if (arrow && event.target.matches("select, input")) return; // they mean the control
  if (event.target.matches("select") && event.key.length === 1) return; // typing chooses an entry
  const action = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (action === undefined) return;
  event.preventDefault();
  action();
}

function listen() {
  byId("category").addEventListener("change", (event) => openCategory(event.target.value));
  byId("colouring").addEventListener("change", (event) => setColouring(event.target.value));
  byId("size").addEventListener("input", (event) => { view.size = Number(event.target.value); refresh(); });
  byId("threshold").addEventListener("input", () => { readThreshold(); setMarking(true); });
  byId("mark").addEventListener("change", (event) => setMarking(event.target.checked));
  byId("beside").addEventListener("change", (event) => setBeside(event.target.checked));
  byId("link").addEventListener("change", (event) => setLinked(event.target.checked));
  byId("reset").addEventListener("click", resetView);
  byId("theme").addEventListener("click", KEYS.d);
  byId("listing")?.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-shows]");
    if (row && !event.target.closest("a")) openCloud(Number(row.dataset.shows));
  });
  byId("help-open").addEventListener("click", KEYS["?"]);
  document.addEventListener("keydown", onKey);
  page.panes.forEach((pane, place) => {
    pane.root.addEventListener("pointerdown", () => setActive(place), true);
    pane.root.addEventListener("focusin", () => setActive(place));
  });
}

function state() {
  return {
    category: page.category, colouring: view.colouring, threshold: view.threshold,
    marking: view.marking, beside: view.beside, linked: page.linked, active: page.active, range: view.range,
    theme: document.documentElement.dataset.theme,
    panes: page.panes.map((pane) => {
      if (pane.about === null) return null;
      const { geometry, material } = pane.k3d.getObjectById(OBJECT);
      return {
        name: pane.about.name, points: geometry.attributes.position.count, facing: pane.facing,
        lines: pane.lines, size: material.size, camera: pane.camera(), rates: rates(pane.about, pane.cloud, view),
      };
    }),
  };
}

async function start() {
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  if (byId("notes")) byId("viewer").classList.add("has-notes");
  if (byId("listing")) byId("viewer").classList.add("has-listing");
  if (typeof DecompressionStream === "undefined") throw new Error("this browser is too old for the page (2023 or later is needed)");
  if (document.createElement("canvas").getContext("webgl2") === null) throw new Error("this browser offers no WebGL 2");
  const library = await loadLibrary();
  page.panes = Array.from({ length: index.panes }, (_, place) => new Pane(place, library, view));
  if (page.panes.length > 1) {
    link(page.panes[0], page.panes[1]);
    link(page.panes[1], page.panes[0]);
    page.panes.forEach((pane, place) => {
      const other = page.panes[1 - place];
      pane.followed = (next) => (view.beside && other.wanted !== next ? other.show(next) : null);
    });
  }
  byId("link-field").hidden = page.panes.length < 2;
  byId("beside-field").hidden = page.panes.length < 2;
  byId("category").append(...index.categories.map((category) => option(category, category)));
  byId("category-field").hidden = index.categories.length < 2;
  listen();
  setActive(0);
  page.panes.forEach((pane) => pane.lookFrom(FRONT));
  await setBeside(view.beside);
  byId("panes").classList.toggle("single", index.panes === 1);
  if (index.clouds.length > 0) await openCategory(page.category);
}

// Its first cloud, from where its defect or its highest scores show most.
async function openCategory(category) {
  await setCategory(category);
  page.panes[0].face();
}

// A cloud of the table, from where its highest scores show most; its row is marked.
async function openCloud(number) {
  await page.panes[0].show(number);
  if (page.panes[0].wanted === number) page.panes[0].face();
}

function markRow(number) {
  for (const row of document.querySelectorAll("#listing tr[data-shows]")) {
    const shown = row.dataset.shows === String(number);
    if (shown) row.setAttribute("aria-current", "true"); else row.removeAttribute("aria-current");
  }
}

async function addCloud(about, data) {
  const number = index.clouds.push(about) - 1;
  const block = document.createElement("script");
  block.type = "text/plain";
  block.id = `cloud-${number}`;
  block.textContent = data;
  document.body.append(block);
  if (!index.categories.includes(about.category)) index.categories.push(about.category);
  await setCategory(about.category, number);
  page.panes[0].face();
  return number;
}

const ready = start();
ready.catch((problem) => {
  byId("problem").hidden = false;
  byId("problem").textContent = `Nothing can be shown: ${problem.message}.`;
});
window.iv = {
  ready, state, get panes() { return page.panes; }, show: (place, i) => page.panes[place].show(i),
  open: openCloud, add: addCloud,
};
