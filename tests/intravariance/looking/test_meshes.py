# SPDX-License-Identifier: Apache-2.0
"""Meshes of the user's own, read in real child processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from click.testing import CliRunner
from PIL import Image

from intravariance.commands.preview import preview_command
from intravariance.commands.view import view_command
from intravariance.errors import InputError
from intravariance.looking.meshes import is_mesh, mesh_cloud
from tests.intravariance.looking.test_rendering import is_blank

CORNERS = (
    "ply\nformat ascii 1.0\nelement vertex 3\n"
    "property float x\nproperty float y\nproperty float z\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tall box (up is y) as STL, and a file that is no mesh below it."""
    place = tmp_path_factory.mktemp("meshes")
    box = trimesh.creation.box((1.0, 3.0, 1.0)).subdivide()
    (place / "box.stl").write_bytes(box.export(file_type="stl"))
    (place / "inside").mkdir()
    (place / "inside" / "broken.obj").write_text("v 0 0 0\nf 1 2 9\n")
    return place


def run(command: object, *arguments: object) -> str:
    words = [str(argument) for argument in arguments]
    result = CliRunner().invoke(command, words, catch_exceptions=False)  # type: ignore[arg-type]
    assert result.exit_code == 0, result.output
    return result.output


def test_what_is_a_mesh(tmp_path: Path) -> None:
    faces = "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    files = {
        "with.ply": CORNERS + faces + "0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n",
        "none.ply": CORNERS + faces.replace("face 1", "face 0") + "0 0 0\n1 0 0\n0 1 0\n",
        "cloud.ply": CORNERS + "end_header\n0 0 0\n1 0 0\n0 1 0\n",
        "with.obj": "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "cloud.obj": "# f 1 2 3\nv 0 0 0\n",
        "points.xyz": "0 0 0\n",
        "any.stl": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = {name for name in files if is_mesh(tmp_path / name)}
    assert found == {"with.ply", "with.obj", "any.stl"}


def test_a_mesh_is_a_cloud_on_its_surface_in_the_unit_sphere(folder: Path) -> None:
    cloud, notes = mesh_cloud(folder / "box.stl", "box", up="y")
    reach = np.abs(cloud.points).max(axis=0)
    np.testing.assert_allclose(reach[2] / reach[:2], 3, rtol=1e-2)  # y of the file is up
    assert 0.98 < np.linalg.norm(cloud.points, axis=1).max() < 1 + 1e-5
    ahead = (cloud.points * cloud.normals).sum(axis=1)
    assert (ahead > 0).all() and cloud.normal
    assert "kept as it is" in notes[0] and "up is +y" in notes[0]


def test_view_draws_a_mesh_and_preview_a_folder_of_them(folder: Path, tmp_path: Path) -> None:
    picture, sheet = tmp_path / "box.png", tmp_path / "sheet.png"
    run(view_command, folder / "box.stl", "--out", picture, "--size", 96)
    with Image.open(picture) as image:
        assert image.width == 96  # one picture: there is no label and no template
        assert not is_blank(np.asarray(image.convert("RGB"))[-110:-40]).all()
    said = run(preview_command, folder, "--out", sheet, "--size", 96, "--jobs", 1, "--up", "y")
    assert "left out" in said and "inside/broken.obj" in said
    with Image.open(sheet) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[1] == 2 * 96
    tiles = pixels[-96 - 37 : -37]
    assert not is_blank(tiles[:, :96]).all() and is_blank(tiles[:, 96:]).all()


def test_files_that_cannot_be_drawn(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"broken\.obj: "):
        run(view_command, folder / "inside" / "broken.obj", "--out", tmp_path / "a.png")
    with pytest.raises(InputError, match="expected a file, found nothing"):
        run(view_command, tmp_path / "none.stl", "--out", tmp_path / "a.png")
    with pytest.raises(InputError, match="no mesh in this folder"):
        run(preview_command, tmp_path, "--out", tmp_path / "a.png")
    with pytest.raises(InputError, match="--noise-free: nothing is known"):
        run(view_command, folder / "box.stl", "--noise-free", "--out", tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
