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
    unlabelled    the defect that stood there ("unlabelled" where nobody knew whether it had one),
                  when no point had a label before: then "changed" is empty, "added" counts the
                  points that the hand marked, and the earlier labels are UNKNOWN_LABEL

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
from annotations.vocabulary import NORMAL, UNKNOWN_LABEL, UNLABELLED, UNNAMED_DEFECT
from intravariance.dataset.schema import Sample
from intravariance.errors import InputError, IntegrityError

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
    "annotator". Hand labels that the sample had before are replaced, not merged. Where its points
    had no labels, they are the hand's whatever the rule; of an object of which nothing was known
    they tell what it is.

    Raises InputError when points had no labels, and some of them have no row.
    """
    construction = construction_labels(sample)
    if _unlabelled(construction):
        return _labelled(sample, hand, matching, rule, origin)
    labels = merge(construction, hand, matching.known, rule)
    whole = matching.missing == 0
    source = {"construction": "construction", "hand": "hand"}.get(rule, "merged")
    details = {
        "source": "merged" if source == "hand" and not whole else source,
        "rule": rule,
        "changed": pack(labels != construction),
        "added": int((labels > construction).sum()),
        "removed": int((labels < construction).sum()),
        **_of_matching(matching),
        **origin,
    }
    return replace(sample, labels=labels, parameters=sample.parameters | {KEY: details})


def _labelled(
    sample: Sample, hand: Labels, matching: Matching, rule: Rule, origin: dict[str, Any]
) -> Sample:
    """Return a sample whose points had no labels with those of a hand."""
    if matching.missing:
        raise InputError(
            f"{origin['file']}: {matching.missing:,} of {len(hand):,} points of {sample.id} have "
            "no row, and nothing else says whether they are anomalous; save the whole cloud"
        )
    before = sample.parameters.get(KEY, {}).get("unlabelled", sample.defect)
    details = {
        "source": "hand",
        "rule": rule,
        "unlabelled": before,
        "changed": "",
        "added": int(hand.sum()),
        "removed": 0,
        **_of_matching(matching),
        **origin,
    }
    found = UNNAMED_DEFECT if hand.any() else NORMAL
    displacement = np.zeros_like(sample.displacement)
    displacement[hand != 0] = np.nan
    return replace(
        sample,
        labels=hand,
        displacement=displacement,
        defect=found if before == UNLABELLED else before,
        parameters=sample.parameters | {KEY: details},
    )


def _of_matching(matching: Matching) -> dict[str, Any]:
    return {
        "matched": matching.matched,
        "missing": matching.missing,
        "extra": matching.extra,
        "repeated": matching.repeated,
        "ambiguous": matching.ambiguous,
        "shift": matching.shift.tolist(),
        "tolerance": matching.tolerance,
    }


def _unlabelled(labels: Labels) -> bool:
    return bool((labels == UNKNOWN_LABEL).any())


def construction_labels(sample: Sample) -> Labels:
    """Return the (N,) uint8 labels that the sample was made with, or imported, before any hand.

    They are all UNKNOWN_LABEL where points had none.

    Raises IntegrityError when the record does not fit the sample.
    """
    details = sample.parameters.get(KEY)
    if details is None:
        return sample.labels
    if isinstance(details, dict) and "unlabelled" in details:
        if details.get("added") != int((sample.labels == 1).sum()) or sample.labels.max() > 1:
            raise IntegrityError(f"{sample.id}: its labels are not those that its record describes")
        return np.full_like(sample.labels, UNKNOWN_LABEL)
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
    if not by_hand(sample):
        return sample
    labels = construction_labels(sample)
    if not _unlabelled(labels):
        return replace(sample, labels=labels)
    unknown = np.full_like(sample.displacement, np.nan)
    defect = sample.parameters[KEY]["unlabelled"]
    return replace(sample, labels=labels, displacement=unknown, defect=defect)


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
