// SPDX-License-Identifier: Apache-2.0
// A pane: a cloud on a K3D canvas, its choosers and its caption.

const FIELD_OF_VIEW = 30; // degrees
const FRONT = [0.75, -1.6, 0.9]; // three-quarter view from the front, as in the pictures
const HIGHEST = 0.02; // share of the points of a cloud without labels that it is seen from
const LEAST_PIXELS = 1.5; // diameter of a point: smaller ones vanish
// Radius of the ball that a camera frames: noise and bulges leave the unit ball, and points are
// drawn as discs around their places. A stray point may be cut off.
const DISC = 0.06;
const FRAMED = Math.min(Math.max(1, ...index.clouds.map((about) => about.reach)) + DISC, 1.5);
const OBJECT = 1; // identifier of the cloud within K3D; each pane has a K3D of its own
const LINES = 2; // of the lines that show forces
const MOST_LINES = 400; // the longest of a cloud
const LONGEST = 0.3; // of the lines, in the frame of the display, about
const UNMOVED = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
const SOURCES = { dataset: "Made in Blender", generator: "Pseudo-anomalies", scan: "Scans" };

const number = (value, digits = 3) => Number(value.toPrecision(digits)).toString();
const percent = (value) => (value === null ? "none" : `${(100 * value).toFixed(1)} %`);
const count = (value) => value.toLocaleString("en-US");
const groupOf = (about) => `${about.source} ${about.defect}`;

function option(value, text) {
  const element = document.createElement("option");
  element.value = value;
  element.textContent = text;
  return element;
}

class Pane {
  constructor(place, library, view) {
    this.view = view;
    this.place = place;
    this.about = null; // entry of the index
    this.cloud = null;
    this.wanted = -1; // number in the index of the cloud that was last asked for
    this.lines = 0; // that show forces
    this.stretch = null; // how much longer than the forces they are
    this.queue = Promise.resolve();
    this.painting = false; // whether a new colouring waits in the queue
    this.followed = () => null; // called with the number of what is to be shown
    this.facing = 0;
    this.json = null;
    const content = document.getElementById("pane").content.cloneNode(true);
    this.root = content.querySelector(".pane");
    document.getElementById("panes").append(content);
    this.root.setAttribute("aria-label", `Pane ${place + 1}`);
    this.part = (name) => this.root.querySelector(`.${name}`);
    this.k3d = new library.K3D(library.ThreeJsProvider, this.part("canvas"), {
      menuVisibility: false, gridVisible: false, axesHelper: 0, cameraAutoFit: false,
      gridAutoFit: false, cameraMode: "orbit", cameraUpAxis: "z", cameraFov: FIELD_OF_VIEW,
    });
    this.k3d.on(this.k3d.events.BEFORE_RENDER, () => this.hideBacks());
    this.part("group").addEventListener("change", (event) => this.chooseGroup(event.target.value));
    this.part("sample").addEventListener("change", (event) => this.show(Number(event.target.value)));
    this.part("previous").addEventListener("click", () => this.stepSample(-1));
    this.part("next").addEventListener("click", () => this.stepSample(1));
    this.part("face").addEventListener("click", () => this.face());
  }

  // How it colours: as the page does, but by labels on the right where they stand beside.
  look() {
    const beside = this.place === 1 && this.view.beside;
    return beside ? { ...this.view, colouring: "label", marking: false } : this.view;
  }

  // The clouds of the chosen category as a Map from group to numbers, in the index's order.
  setCategory(category) {
    this.groups = new Map();
    index.clouds.forEach((about, i) => {
      if (about.category !== category) return;
      const key = groupOf(about);
      if (!this.groups.has(key)) this.groups.set(key, []);
      this.groups.get(key).push(i);
    });
    const chooser = this.part("group");
    chooser.replaceChildren();
    Object.entries(SOURCES).forEach(([source, title]) => {
      const section = document.createElement("optgroup");
      section.label = title;
      this.groups.forEach((numbers, key) => {
        const about = index.clouds[numbers[0]];
        if (about.source === source) {
          section.append(option(key, `${about.defect} (${numbers.length})`));
        }
      });
      if (section.children.length > 0) chooser.append(section);
    });
    this.order = [...chooser.options].map((entry) => entry.value);
    this.part("group-field").hidden = index.panes === 1 && this.groups.size < 2;
  }

  first() {
    return this.groups.get(this.firstGroup())[0];
  }

  // Left a defect of the file; right the first of another source, or else the next defect.
  firstGroup() {
    const defects = this.order.filter((key) => {
      const about = index.clouds[this.groups.get(key)[0]];
      return about.defect !== "normal";
    });
    const keys = defects.length > 0 ? defects : this.order;
    if (this.place === 0) return keys[0];
    const [source] = keys[0].split(" ", 1);
    return keys.find((key) => !key.startsWith(`${source} `)) ?? keys[1] ?? this.order.at(-1);
  }

  chooseGroup(key) {
    return this.show(this.groups.get(key)[0]);
  }

  stepGroup(step) {
    const at = this.order.indexOf(groupOf(index.clouds[this.wanted]));
    return this.chooseGroup(this.order[(at + step + this.order.length) % this.order.length]);
  }

  stepSample(step) {
    const numbers = this.groups.get(groupOf(index.clouds[this.wanted]));
    const at = numbers.indexOf(this.wanted);
    return this.show(numbers[(at + step + numbers.length) % numbers.length]);
  }

  // One thing after the other, or K3D would lose an object; what was overtaken is left out.
  afterwards(action) {
    this.queue = this.queue.catch(() => {}).then(action);
    return this.queue;
  }

  show(next) {
    this.wanted = next;
    const followed = this.followed(next);
    const shown = this.afterwards(async () => {
      if (next !== this.wanted) return;
      const cloud = await decodeCloud(next);
      if (this.json !== null) await this.k3d.removeObject(OBJECT);
      this.about = index.clouds[next];
      this.cloud = cloud;
      this.facing = cloud.labels.length; // how many points face the camera
      this.json = {
        type: "Points", id: OBJECT, name: this.about.name, visible: true, shader: "flat", opacity: 1,
        positions: { data: cloud.positions, shape: [cloud.labels.length, 3] },
        colors: this.colours(),
        point_size: this.pointSize(),
        model_matrix: { data: Float32Array.from(UNMOVED), shape: [4, 4] },
      };
      await this.k3d.load({ objects: [this.json] });
      await this.drawForces();
      this.fillChoosers(next);
      if (this.place === 0) markRow(next);
      this.describe();
    });
    return Promise.all([shown, followed]);
  }

  colours() {
    return { data: pointColours(this.cloud, this.look()), shape: [this.cloud.labels.length] };
  }

  // In the frame of the display; the index says what the cloud's density and noise ask for.
  pointSize() {
    const { width, height } = this.k3d.getWorld();
    const pixel = (2 * FRAMED) / Math.max(Math.min(width, height), 1);
    return this.view.size * Math.max(this.about.diameter / this.about.radius, LEAST_PIXELS * pixel);
  }

  // Closed surfaces never show their back: points that face away would shine through the gaps
  // between those in front. They are put behind the camera. The normals of scans are not to be
  // trusted that far.
  hideBacks() {
    const places = this.k3d.getObjectById(OBJECT)?.geometry.attributes.position;
    if (places === undefined || this.about.source === "scan") return;
    const { normals, positions } = this.cloud;
    const [x, y, z, ...target] = this.camera();
    const behind = [x, y, z].map((value, axis) => 2 * value - target[axis]);
    const total = places.count;
    this.facing = 0;
    for (let i = 0; i < total; i += 1) {
      const facing = normals[i] * (x - positions[3 * i])
        + normals[total + i] * (y - positions[3 * i + 1])
        + normals[2 * total + i] * (z - positions[3 * i + 2]) > 0;
      if (facing) this.facing += 1;
      for (let axis = 0; axis < 3; axis += 1) {
        places.array[3 * i + axis] = facing ? positions[3 * i + axis] : behind[axis];
      }
    }
    places.needsUpdate = true;
  }

  recolour() {
    if (this.painting) return this.queue;
    this.painting = true;
    return this.afterwards(async () => {
      this.painting = false;
      if (this.json === null) return;
      const changes = { colors: this.colours(), point_size: this.pointSize() };
      Object.assign(this.json, changes);
      await this.k3d.reload(this.json, changes);
      await this.drawForces();
      this.describe();
    });
  }

  // A line from each of the points that a detector says were moved farthest, in the direction in
  // which it says they were, `stretch` times as long; with the colouring by force alone. They are
  // seen through the points, inside a dent too.
  async drawForces() {
    if (this.lines > 0) await this.k3d.removeObject(LINES);
    this.lines = 0;
    this.stretch = null;
    const { forces, forced, positions } = this.cloud;
    if (this.look().colouring !== "force" || forces === null) return;
    const total = forced.length;
    const chosen = [...forced.keys()].sort((a, b) => forced[b] - forced[a]).slice(0, MOST_LINES)
      .filter((i) => forced[i] > 0);
    this.lines = chosen.length;
    if (this.lines === 0) return;
    this.stretch = Math.max(1, Math.round(LONGEST / forced[chosen[0]]));
    const vertices = new Float32Array(6 * chosen.length);
    chosen.forEach((i, line) => {
      for (let axis = 0; axis < 3; axis += 1) {
        const place = positions[3 * i + axis];
        vertices[6 * line + axis] = place;
        vertices[6 * line + 3 + axis] = place
          + (this.stretch * this.about.force_step * forces[axis * total + i]) / this.about.radius;
      }
    });
    await this.k3d.load({ objects: [{
      type: "Lines", id: LINES, name: "forces", visible: true, shader: "simple", opacity: 1,
      width: 0.01, color: packed(PALETTE.force, 1), colors: { data: new Uint32Array(0), shape: [0] },
      color_map: null, color_range: [], attribute: null, indices_type: "segment",
      vertices: { data: vertices, shape: [2 * chosen.length, 3] },
      indices: { data: Uint32Array.from(Array(2 * chosen.length).keys()), shape: [chosen.length, 2] },
      model_matrix: { data: Float32Array.from(UNMOVED), shape: [4, 4] },
    }] });
    const drawn = this.k3d.getObjectById(LINES);
    drawn.material.depthTest = false;
    drawn.renderOrder = 1;
    this.k3d.render();
  }

  fillChoosers(shown) {
    const key = groupOf(this.about);
    const numbers = this.groups.get(key);
    const chooser = this.part("sample");
    this.part("group").value = key;
    chooser.replaceChildren(...numbers.map((i, at) => (
      option(String(i), `${at + 1}/${numbers.length}  ${index.clouds[i].name}`))));
    chooser.value = String(shown);
    this.part("previous").disabled = numbers.length < 2;
    this.part("next").disabled = numbers.length < 2;
    this.part("face").textContent = this.about.labelled ? "Face defect" : "Face highest";
    this.part("face").disabled = !this.marked().some((mark) => mark > 0);
  }

  describe() {
    const { about } = this;
    const what = about.name + (about.subcategory ? `: ${about.subcategory}` : "")
      + (about.defect === "unlabelled" ? "" : `, ${about.defect}`);
    const figures = [
      about.shown < about.points
        ? `${count(about.shown)} of ${count(about.points)} points shown`
        : `${count(about.points)} points`,
      about.labelled ? `${percent(about.anomalous / about.points)} labelled` : "points not labelled",
    ];
    if (about.largest !== null && about.largest > 0) {
      figures.push(`moved up to ${number(about.largest)}`);
    } else if (about.displacement_step === null && about.labelled) figures.push("displacement unknown");
    if (this.stretch !== null) figures.push(`lines: predicted force, ${this.stretch} times as long`);
    if (about.exposed > 0) figures.push(`${percent(about.exposed / about.points)} exposed`);
    const text = (name, value) => {
      const element = this.part(name);
      if (element.textContent !== value) element.textContent = value;
    };
    text("what", what);
    text("figures", figures.join(", "));
    text("rates", this.ratesText());
    this.part("canvas").setAttribute("aria-label", `Point cloud ${what}`);
  }

  ratesText() {
    const look = this.look();
    if (!look.marking) return "";
    const result = rates(this.about, this.cloud, look);
    if (!this.about.labelled) return "Points not labelled: the darkest are above the threshold";
    if (result === null) return `No ${look.colouring} known of this cloud`;
    const iou = result.iou === null ? "none" : result.iou.toFixed(3);
    return `True positives ${percent(result.tpr)}, false positives ${percent(result.fpr)}, IoU ${iou}`;
  }

  camera() {
    return this.k3d.getWorld().controls.getCameraArray();
  }

  // Look at the middle of the display frame from a direction, so that the unit ball fits.
  lookFrom(direction) {
    const { width, height } = this.k3d.getWorld();
    const away = FRAMED / Math.sin((FIELD_OF_VIEW * Math.PI) / 360) / Math.min(1, width / height);
    const length = Math.hypot(...direction);
    this.k3d.setCamera([...direction.map((value) => (away * value) / length), 0, 0, 0, 0, 0, 1]);
  }

  // The points that matter (N, 1 or 0): labelled ones; of a cloud that nobody labelled, those with
  // the highest scores.
  marked() {
    const { labelled, labels, scores } = this.cloud;
    if (labelled || scores === null) return labels;
    const limit = Float64Array.from(scores).sort()[Math.floor((1 - HIGHEST) * (scores.length - 1))];
    return Uint8Array.from(scores, (score) => (score >= limit ? 1 : 0));
  }

  // From where most labelled points face the camera; where they face all ways, as on a stump,
  // from their side of the product. Never from right above or below, where z cannot be up.
  face() {
    const { normals, positions } = this.cloud;
    const labels = this.marked();
    const facing = [0, 0, 0];
    const middle = [0, 0, 0];
    let marked = 0;
    labels.forEach((label, i) => {
      if (label === 0) return;
      marked += 1;
      for (let axis = 0; axis < 3; axis += 1) {
        facing[axis] += normals[axis * labels.length + i] / 127;
        middle[axis] += positions[3 * i + axis];
      }
    });
    if (marked === 0) return;
    const direction = facing.map((value, axis) => (value + middle[axis]) / marked);
    const level = Math.hypot(direction[0], direction[1]);
    if (level < 1e-3) [direction[0], direction[1]] = [0, -1e-3];
    const flat = Math.max(level, 1e-3);
    const rise = Math.min(Math.max(direction[2] / flat, -1.2), 1.2);
    this.lookFrom([direction[0] / flat, direction[1] / flat, rise]);
  }
}
