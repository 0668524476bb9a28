// SPDX-License-Identifier: Apache-2.0
// What the page carries: base64 of zlib streams. Clouds are decoded when they are first shown.
// The layout of a cloud is described in intravariance/looking/page/packing.py, `pack_cloud`.

const index = JSON.parse(document.getElementById("index").textContent);
const EXPOSED = 0xffff;
const decoded = new Map();

async function inflate(elementId) {
  const element = document.getElementById(elementId);
  const text = atob(element.textContent.trim());
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i += 1) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

// The library is an AMD bundle that asks for nothing: this is all of a loader that it needs.
async function loadLibrary() {
  const source = await inflate("library");
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  let library = null;
  globalThis.define = (name, dependencies, factory) => { library = factory(); };
  await new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = resolve;
    script.onerror = () => reject(new Error("the viewer library did not load"));
    document.head.append(script);
  });
  URL.revokeObjectURL(address);
  delete globalThis.define;
  return library;
}

// {positions (3N, x y z of one point after the other, in the frame of the display), shade (N),
//  labels (N), moved (N, Infinity where exposed) or null, scores (N) or null, forces (3N, all x
//  first, in steps) and their lengths in the frame of the display, forced (N), or null}
async function decodeCloud(number) {
  if (decoded.has(number)) return decoded.get(number);
  const about = index.clouds[number];
  const count = about.shown;
  const buffer = await inflate(`cloud-${number}`);
  let offset = 0;
  const take = (Type, length) => {
    const part = new Type(buffer, offset, length);
    offset += part.byteLength;
    return part;
  };
  const takeWords = (Type, length) => { // of 16 bits: all low bytes, then all high ones
    const low = take(Uint8Array, length);
    const high = take(Uint8Array, length);
    return Type.from(low, (byte, i) => byte | (high[i] << 8));
  };
  const places = takeWords(Uint16Array, 3 * count);
  const moves = about.displacement_step === null ? null : takeWords(Uint16Array, count);
  const marks = about.score_step === null ? null : takeWords(Uint16Array, count);
  const forces = about.force_step === null ? null : takeWords(Int16Array, 3 * count);
  const normals = take(Int8Array, 3 * count);
  const labels = take(Uint8Array, count);

  const positions = new Float32Array(3 * count);
  for (let axis = 0; axis < 3; axis += 1) {
    for (let i = 0; i < count; i += 1) {
      const place = about.origin[axis] + about.step[axis] * places[axis * count + i];
      positions[3 * i + axis] = (place - about.centre[axis]) / about.radius;
    }
  }
  const cloud = {
    positions,
    labels,
    labelled: about.labelled,
    normals,
    shade: shading(normals, count),
    moved: moves && Float64Array.from(moves, (move) => (
      move === EXPOSED ? Infinity : move * about.displacement_step)),
    scores: marks && Float64Array.from(marks, (mark) => about.score_low + mark * about.score_step),
    forces,
    forced: forces && Float64Array.from(labels, (_, i) => (about.force_step / about.radius)
      * Math.hypot(forces[i], forces[count + i], forces[2 * count + i])),
  };
  decoded.set(number, cloud);
  return cloud;
}
