# SPDX-License-Identifier: Apache-2.0
"""Wrong parts: a pot with a square spout gets the round one of another, a table a round tray."""

import numpy as np
import point_cloud_utils
import pytest

pytest.importorskip("bpy", reason="Blender is not installed: pip install '.[blender]'")

from annotations.vocabulary import DISPLACEMENT_THRESHOLD, WRONG_PART
from blender_scripts import defects
from blender_scripts.defects import make_defect
from blender_scripts.designs import shapes
from blender_scripts.meshes import GeometryError, closed_problem, join
from blender_scripts.shaping.topology import genus, solids
from tests.blender_scripts.test_defects import prepared

SEEDS = range(3)


def pot(spout):
    return prepared(shapes.union(shapes.box((0.8, 0.8, 0.8), bevel=0.05), spout))


def square_pot():
    return pot(shapes.box((0.25, 0.3, 1.0), (0.1, 0, 0.7), bevel=0.03))


def round_pot():
    return pot(shapes.cylinder(0.13, 0.75, centre=(-0.1, 0, 0.6)))


def table(tray):
    return prepared(join(shapes.box((1.0, 1.0, 0.6)), tray))


@pytest.fixture(scope="module")
def pots():
    """Make the two pots, and the first with spouts of the second."""
    own, donor = square_pot(), round_pot()
    made = [
        make_defect(WRONG_PART, *own, np.random.default_rng(seed), 0.5, donor=donor)[0]
        for seed in SEEDS
    ]
    return own, donor, made


def distances(mesh, points):
    return point_cloud_utils.closest_points_on_mesh(np.ascontiguousarray(points), *mesh)[0]


def test_the_kind_that_needs_a_donor_is_called_as_in_the_vocabulary():
    assert defects.WRONG_PART == WRONG_PART


def test_the_product_stays_one_closed_solid(pots):
    for defect in pots[2]:
        assert closed_problem(defect.vertices, defect.faces) == ""
        assert solids(defect.surface) == 1
        assert genus(defect.faces) == 0


def test_labelled_is_what_is_off_the_right_product_and_no_other(pots):
    own, _, made = pots
    for defect in made:
        corners = distances(own, defect.vertices)[defect.faces].max(axis=1)
        centres = distances(own, defect.vertices[defect.faces].mean(axis=1))
        off = np.maximum(corners, centres)
        assert off[~defect.cut].max() < DISPLACEMENT_THRESHOLD + 1e-5
        assert off[defect.cut].min() > DISPLACEMENT_THRESHOLD - 1e-5
        assert off[defect.cut].max() > 0.02
        assert not defect.displacement.any()  # of exposed surface it is not defined
        on_rim = np.unique(defect.faces[defect.cut])
        assert distances((defect.vertices, defect.faces), defect.rim).max() < 1e-5
        assert len(on_rim) and len(defect.rim)


def test_the_part_is_the_donors(pots):
    """Across the spout it is an ellipse, which the square one is not."""
    _, _, made = pots
    for defect in made:
        axis = np.array(defect.parameters["axis"])
        assert axis[2] > 0.8  # the spouts point upwards
        top = defect.vertices[defect.vertices[:, 2] > defect.vertices[:, 2].max() - 0.05]
        spread = np.linalg.norm(top[:, :2] - top[:, :2].mean(axis=0), axis=1)
        assert spread.max() < 1.45 * np.median(spread)  # a square's corner: 2 ** 0.5 and more


def test_the_same_generator_gives_the_same_bytes(pots):
    own, donor, made = pots
    again, _ = make_defect(WRONG_PART, *own, np.random.default_rng(0), 0.5, donor=donor)
    for name in ("vertices", "faces", "cut", "rim"):
        np.testing.assert_array_equal(getattr(made[0], name), getattr(again, name))
    assert made[0].parameters == again.parameters


def test_severity_sets_how_far_the_part_reaches():
    own, donor = square_pot(), round_pot()
    reach = [
        make_defect(WRONG_PART, *own, np.random.default_rng(1), severity, donor=donor)[
            0
        ].vertices[:, 2].max()
        for severity in (0.0, 1.0)
    ]  # fmt: skip
    assert reach[0] == pytest.approx(own[0][:, 2].max(), abs=0.02)
    assert abs(reach[1] - own[0][:, 2].max()) > 0.05


def test_a_solid_of_its_own_is_exchanged_without_a_cut():
    own = table(shapes.box((0.5, 0.5, 0.1), (0, 0, 0.5)))
    donor = table(shapes.cylinder(0.3, 0.1, centre=(0.1, 0, 0.5)))
    kinds = set()
    for seed in range(6):
        try:
            rng = np.random.default_rng(seed)
            defect, _ = make_defect(WRONG_PART, *own, rng, 0.5, donor=donor, attempts=3)
        except GeometryError:
            continue
        kinds.add(defect.parameters["part"])
        if defect.parameters["part"] == "solid":
            assert solids(defect.surface) == 2
            assert closed_problem(defect.vertices, defect.faces) == ""
            # the table below it is untouched
            assert defect.vertices[np.unique(defect.faces[defect.cut])][:, 2].min() > 0.2
    assert "solid" in kinds


def test_without_a_part_or_a_donor_it_is_refused():
    block, own = prepared(shapes.box((1.0, 0.9, 1.0))), square_pot()
    for product, donor in ((own, block), (block, own)):
        with pytest.raises(GeometryError, match=r"no wrong_part after 4 attempts: .*(plane|part)"):
            make_defect(
                WRONG_PART, *product, np.random.default_rng(0), 0.5, attempts=4, donor=donor
            )
    with pytest.raises(ValueError, match="wrong_part needs a donor"):
        make_defect(WRONG_PART, *own, np.random.default_rng(0), 0.5)
    with pytest.raises(ValueError, match="bulge has no use for a donor"):
        make_defect("bulge", *own, np.random.default_rng(0), 0.5, donor=block)
