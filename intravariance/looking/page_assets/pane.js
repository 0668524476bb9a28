// SPDX-License-Identifier: Apache-2.0
// A pane: a cloud on a K3D canvas, its choosers and its caption.

const FIELD_OF_VIEW = 30; // degrees
const FRONT = [0.75, -1.6, 0.9]; // three-quarter view from the front, as in the pictures
const SPREAD = 1.75; // diameter of a point as a multiple of the spacing of the cloud
// Noise drives points apart in depth, which is no gap in the surface: the diameter in the display
// frame is at most what covers the surfaces of our products, of N points, LARGEST / sqrt(N).
const LARGEST = 7.5;
// Radius of the ball that a camera frames: noise and bulges leave the unit ball, and points are
// drawn as discs around their places. A stray point may be cut off.
const DISC = 0.06;
const FRAMED = Math.min(Math.max(1, ...index.clouds.map((about) => about.reach)) + DISC, 1.5);
const OBJECT = 1; // identifier of the cloud within K3D; each pane has a K3D of its own
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
    this.queue = Promise.resolve();
    this.painting = false; // whether a new colouring waits in the queue
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
    return this.show(this.groups.get(this.firstGroup())[0]);
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
    return this.afterwards(async () => {
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
      this.fillChoosers(next);
      this.describe();
    });
  }

  colours() {
    return { data: pointColours(this.cloud, this.view), shape: [this.cloud.labels.length] };
  }

  pointSize() {
    const spacing = SPREAD * (this.about.spacing / this.about.radius);
    return this.view.size * Math.min(spacing, LARGEST / Math.sqrt(this.about.shown));
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
      this.describe();
      await this.k3d.reload(this.json, changes);
    });
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
    this.part("face").disabled = this.about.anomalous === 0;
  }

  describe() {
    const { about } = this;
    const what = about.name + (about.subcategory ? `: ${about.subcategory}` : "");
    const figures = [
      about.shown < about.points
        ? `${count(about.shown)} of ${count(about.points)} points shown`
        : `${count(about.points)} points`,
      about.labelled ? `${percent(about.anomalous / about.points)} labelled` : "points not labelled",
    ];
    if (about.largest !== null && about.largest > 0) {
      figures.push(`moved up to ${number(about.largest)}`);
    } else if (about.displacement_step === null) figures.push("displacement unknown");
    if (about.exposed > 0) figures.push(`${percent(about.exposed / about.points)} exposed`);
    const text = (name, value) => {
      const element = this.part(name);
      if (element.textContent !== value) element.textContent = value;
    };
    text("what", `${what}, ${about.defect}`);
    text("figures", figures.join(", "));
    text("rates", this.ratesText());
    this.part("canvas").setAttribute("aria-label", `Point cloud ${what}, ${about.defect}`);
  }

  ratesText() {
    if (!this.view.marking) return "";
    const result = rates(this.about, this.cloud, this.view);
    if (!this.about.labelled) return "Points not labelled: the darkest are above the threshold";
    if (result === null) return `No ${this.view.colouring} known of this cloud`;
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

  // From where most labelled points face the camera; where they face all ways, as on a stump,
  // from their side of the product. Never from right above or below, where z cannot be up.
  face() {
    const { normals, positions, labels } = this.cloud;
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
