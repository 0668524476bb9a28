# SPDX-License-Identifier: Apache-2.0
"""The classes of ShapeNetCore: WordNet synsets, by number and name.

A. Chang et al., "ShapeNet: An Information-Rich 3D Model Repository", 2015. Version 2 has 55;
version 1 has bicycles and boats apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

# The first name is ShapeNet's own. Ours, where they differ: it has mugs for cups and faucets for
# taps; buckets, vases, radios, night stands, desks, cones, doors and consoles are no classes there.
SYNSETS = {
    "02691156": ("airplane", "aeroplane", "plane"),
    "02747177": ("ashcan", "trash_bin", "trash_can", "garbage_can", "wastebin"),
    "02773838": ("bag",),
    "02801938": ("basket",),
    "02808440": ("bathtub",),
    "02818832": ("bed",),
    "02828884": ("bench",),
    "02834778": ("bicycle", "bike"),
    "02843684": ("birdhouse",),
    "02858304": ("boat",),
    "02871439": ("bookshelf",),
    "02876657": ("bottle",),
    "02880940": ("bowl",),
    "02924116": ("bus",),
    "02933112": ("cabinet",),
    "02942699": ("camera",),
    "02946921": ("can", "tin_can"),
    "02954340": ("cap",),
    "02958343": ("car", "automobile"),
    "02992529": ("cellphone", "cellular_telephone", "mobile_phone"),
    "03001627": ("chair",),
    "03046257": ("clock",),
    "03085013": ("keyboard", "computer_keyboard"),
    "03207941": ("dishwasher",),
    "03211117": ("display", "monitor", "video_display"),
    "03261776": ("earphone", "headphone"),
    "03325088": ("faucet", "tap"),
    "03337140": ("file", "file_cabinet", "filing_cabinet"),
    "03467517": ("guitar",),
    "03513137": ("helmet",),
    "03593526": ("jar",),
    "03624134": ("knife",),
    "03636649": ("lamp",),
    "03642806": ("laptop", "laptop_computer"),
    "03691459": ("loudspeaker", "speaker"),
    "03710193": ("mailbox",),
    "03759954": ("microphone",),
    "03761084": ("microwave", "microwaves", "microwave_oven"),
    "03790512": ("motorcycle", "motorbike"),
    "03797390": ("mug", "cup"),
    "03928116": ("piano",),
    "03938244": ("pillow",),
    "03948459": ("pistol", "handgun"),
    "03991062": ("pot", "flowerpot", "flower_pot"),
    "04004475": ("printer",),
    "04074963": ("remote_control", "remote"),
    "04090263": ("rifle",),
    "04099429": ("rocket",),
    "04225987": ("skateboard",),
    "04256520": ("sofa", "couch"),
    "04330267": ("stove",),
    "04379243": ("table",),
    "04401088": ("telephone", "phone"),
    "04460130": ("tower",),
    "04468005": ("train",),
    "04530566": ("watercraft", "vessel"),
    "04554684": ("washer", "washing_machine"),
}
_NUMBERS = {name: number for number, names in SYNSETS.items() for name in names}


def synsets(names: Iterable[str]) -> list[str]:
    """Return the synsets that plain names stand for, each once; a synset's number is a name too."""
    found = (name if re.fullmatch(r"\d{8}", name) else _NUMBERS.get(name) for name in names)
    return list(dict.fromkeys(number for number in found if number))


def similar_names(name: str) -> list[str]:
    """Return names of classes that look like a name."""
    return get_close_matches(name, _NUMBERS)
