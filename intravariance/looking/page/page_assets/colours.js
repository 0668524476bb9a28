// SPDX-License-Identifier: Apache-2.0
// Colours of points, and the rates that a threshold gives. All colours come from Python
// (looking/colours.py), so that pages and pictures agree: [red, green, blue] in 0..1.

const PALETTE = index.palette;
const SCALE = PALETTE.scale; // evenly spaced, from the smallest value to the largest
const FLAT = new Set(Object.values(PALETTE)); // the colours that are no place on the scale
// The lights are fixed to the product. One, wrapped round so that no side is black, comes from above
// the front's left; a weaker one from behind on the right shows shape on the far side.
const LIGHT = [-0.45, -0.55, 0.70];
const FILL = [0.64, 0.76, 0.10];
const DARKEST = 0.38;

function shading(normals, count) {
  const shade = new Float32Array(count);
  for (let i = 0; i < count; i += 1) {
    const x = normals[i] / 127;
    const y = normals[count + i] / 127;
    const z = normals[2 * count + i] / 127;
    const wrapped = Math.max(0.5 + 0.5 * (x * LIGHT[0] + y * LIGHT[1] + z * LIGHT[2]), 0);
    const fill = Math.max(x * FILL[0] + y * FILL[1] + z * FILL[2], 0);
    shade[i] = Math.min(DARKEST + 0.62 * wrapped * Math.sqrt(wrapped) + 0.36 * fill * fill, 1);
  }
  return shade;
}

function scaleColour(share) {
  const place = Math.min(Math.max(share, 0), 1) * (SCALE.length - 1);
  const below = Math.min(Math.floor(place), SCALE.length - 2);
  const rest = place - below;
  return SCALE[below].map((value, channel) => value + rest * (SCALE[below + 1][channel] - value));
}

function cssColour(colour) {
  return `rgb(${colour.map((value) => Math.round(255 * value)).join(" ")})`;
}

function values(cloud, colouring) {
  if (colouring === "displacement") return cloud.moved;
  if (colouring === "force") return cloud.forced;
  return colouring === "score" ? cloud.scores : null;
}

function pointColour(cloud, i, view, quantity) {
  const labelled = cloud.labels[i] > 0;
  const exposed = cloud.moved !== null && cloud.moved[i] === Infinity;
  if (view.colouring === "plain") return PALETTE.normal;
  if (view.colouring === "label") {
    if (exposed) return PALETTE.exposed;
    return labelled ? PALETTE.anomaly : PALETTE.normal;
  }
  if (quantity === null) return PALETTE.normal;
  if (view.marking) {
    if (!cloud.labelled) return quantity[i] >= view.threshold ? scaleColour(1) : PALETTE.normal;
    if (quantity[i] >= view.threshold) return labelled ? PALETTE.hit : PALETTE.false_alarm;
    return labelled ? PALETTE.missed : PALETTE.normal;
  }
  if (view.colouring === "displacement") {
    if (exposed) return PALETTE.exposed;
    if (!labelled) return PALETTE.normal;
  }
  const [low, high] = view.range;
  return scaleColour((quantity[i] - low) / (high > low ? high - low : 1));
}

function packed(colour, shade) {
  return (Math.round(255 * colour[0] * shade) << 16)
    | (Math.round(255 * colour[1] * shade) << 8) | Math.round(255 * colour[2] * shade);
}

// (N) packed 0xrrggbb. A scale of colours is shaded less, so that its values can be read.
function pointColours(cloud, view) {
  const quantity = values(cloud, view.colouring);
  const colours = new Uint32Array(cloud.labels.length);
  for (let i = 0; i < colours.length; i += 1) {
    const colour = pointColour(cloud, i, view, quantity);
    const relief = FLAT.has(colour) ? 1 : PALETTE.relief;
    const shade = 1 - relief * (1 - cloud.shade[i]);
    colours[i] = packed(colour, shade);
  }
  return colours;
}

// {tpr, fpr, iou} of "at or above the threshold" against the labels, null where undefined. A cloud
// that is thinned keeps a larger share of its labelled points: the true counts weigh them.
function rates(about, cloud, view) {
  const quantity = values(cloud, view.colouring);
  if (quantity === null) return null;
  const detected = [0, 0];
  const shown = [0, 0];
  for (let i = 0; i < quantity.length; i += 1) {
    const labelled = cloud.labels[i] > 0 ? 1 : 0;
    shown[labelled] += 1;
    if (quantity[i] >= view.threshold) detected[labelled] += 1;
  }
  const tpr = shown[1] > 0 ? detected[1] / shown[1] : null;
  const fpr = shown[0] > 0 ? detected[0] / shown[0] : null;
  const hits = (tpr ?? 0) * about.anomalous;
  const union = about.anomalous + (fpr ?? 0) * (about.points - about.anomalous);
  return { tpr, fpr, iou: union > 0 ? hits / union : null };
}
