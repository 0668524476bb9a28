# SPDX-License-Identifier: Apache-2.0
"""The origin of a sample's labels, as its parameter "labels" says.

A sample without that parameter has the labels of its construction (an imported one, those of its
source). With it, `construction_labels` gives these back bit for bit, so nothing is lost:

    source        "hand", "merged" (of both) or "construction" (a file was there, nothing taken)
    rule          construction | hand | union | intersection
    changed       which points' labels are not the construction's: bits, zlib, base 85
    added, removed          numbers of such points, now 1 and now 0
    file, file_sha256       the hand's file, relative to its folder
    matched, missing, extra, repeated, ambiguous    see `annotations.matching.Matching`
    shift, tolerance        of the matching, in the frame that was given out
    annotator     as named by the user, or null

Displacement stays what the construction made, also where a label is not: F_D is a fact of the
shape, a label is a judgement.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotations.matching import Matching
from annotations.merging import Rule, merge
from intravariance.dataset.schema import Sample
from intravariance.errors import IntegrityError

KEY = "labels"
Labels = NDArray[np.uint8]


def relabelled(
    sample: Sample,
    hand: Labels,
    matching: Matching,
    rule: Rule,
    origin: dict[str, Any],
) -> Sample:
    """Return the sample with its construction labels merged with the hand's.

    hand : (N,) uint8, 0 where `matching` knows no row. origin : "file", "file_sha256" and
    "annotator". Hand labels that the sample had before are replaced, not merged.
    """
    construction = construction_labels(sample)
    labels = merge(construction, hand, matching.known, rule)
    whole = matching.missing == 0
    source = {"construction": "construction", "hand": "hand"}.get(rule, "merged")
    details = {
        "source": "merged" if source == "hand" and not whole else source,
        "rule": rule,
        "changed": pack(labels != construction),
        "added": int((labels > construction).sum()),
        "removed": int((labels < construction).sum()),
        "matched": matching.matched,
        "missing": matching.missing,
        "extra": matching.extra,
        "repeated": matching.repeated,
        "ambiguous": matching.ambiguous,
        "shift": matching.shift.tolist(),
        "tolerance": matching.tolerance,
        **origin,
    }
    return replace(sample, labels=labels, parameters=sample.parameters | {KEY: details})


def construction_labels(sample: Sample) -> Labels:
    """Return the (N,) uint8 labels that the sample was made with, or imported, before any hand.

    Raises IntegrityError when the record does not fit the sample.
    """
    details = sample.parameters.get(KEY)
    if details is None:
        return sample.labels
    try:
        changed = unpack(details["changed"], len(sample.labels))
        numbers = details["added"], details["removed"]
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise IntegrityError(f"{sample.id}: its record of hand labels is damaged") from error
    labels = np.asarray(sample.labels ^ changed.astype(np.uint8), dtype=np.uint8)
    if numbers != (int((sample.labels > labels).sum()), int((sample.labels < labels).sum())):
        raise IntegrityError(f"{sample.id}: its labels are not those that its record describes")
    return labels


def with_construction_labels(sample: Sample) -> Sample:
    """Return the sample as if no hand had touched it, but for its parameters and digest."""
    return replace(sample, labels=construction_labels(sample)) if by_hand(sample) else sample


def by_hand(sample: Sample) -> bool:
    """Tell whether a hand's file was merged into the labels."""
    return KEY in sample.parameters


def pack(changed: NDArray[np.bool_]) -> str:
    """Encode (N,) bits as ASCII text, short when few are set."""
    return base64.b85encode(zlib.compress(np.packbits(changed).tobytes(), 9)).decode("ascii")


def unpack(text: str, count: int) -> NDArray[np.bool_]:
    """Decode (count,) bits. Raises ValueError or zlib.error when the text holds another number."""
    size = (count + 7) // 8
    reader = zlib.decompressobj()
    packed = reader.decompress(base64.b85decode(text), size + 1)  # a bomb gives no more than this
    if len(packed) != size:
        raise ValueError(f"not the bits of {count} points")
    return np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=count).astype(bool)
