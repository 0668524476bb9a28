# SPDX-License-Identifier: Apache-2.0
"""`iv export --push`, with the Hub's own client and a server on this machine."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("pyarrow", reason="pip install '.[layouts]'")
pytest.importorskip("huggingface_hub", reason="pip install '.[hub]'")

from huggingface_hub import constants

from intravariance.cli import main
from tests.conftest import run_iv
from tests.intravariance.exchange.parquet.exported import contents
from tests.support.hub import TOKEN, StandIn, stand_in
from tests.support.samples import make_dataset

# of the client to its own HTTP library
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
NAME = "somebody/anomalies"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("pushed") / "small.h5")


@pytest.fixture
def hub() -> Iterator[StandIn]:
    with stand_in() as server:
        yield server


@pytest.fixture(autouse=True)
def no_xet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Set the client to LFS, since the stand-in has no Xet, the Hub's other protocol."""
    for name, value in {"HF_HUB_DISABLE_XET": True, "HF_TOKEN_PATH": str(tmp_path / "no")}.items():
        monkeypatch.setattr(constants, name, value)


def words(file: Path, out: Path, *more: object) -> list[str]:
    given = ("export", file, "--layout", "hf-parquet", "--out", out, "--push", NAME, *more)
    return [str(word) for word in given]


def export(file: Path, out: Path, url: str, *more: object, token: str = TOKEN) -> Result:
    """Run `iv export --push` in this process, where what HF_ENDPOINT says was read before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", url)
        result = CliRunner().invoke(main, words(file, out, *more), env={"HF_TOKEN": token})
    assert TOKEN not in result.stdout + result.stderr
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_the_folder_is_uploaded_with_its_card(file: Path, hub: StandIn, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run_iv(
        *words(file, out, "--private", "--json"), HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN,
        HF_HUB_DISABLE_XET="1", HF_HOME=str(tmp_path / "home"),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert TOKEN not in result.stdout + result.stderr
    pushed = json.loads(result.stdout)["pushed"]
    assert pushed["page"] == f"{hub.url}/datasets/{NAME}" and len(pushed["commit"]) == 40
    (created,) = hub.created
    assert (created["type"], created["visibility"]) == ("dataset", "private")
    assert hub.files == contents(out)
    assert hub.files["README.md"].startswith(b"---\n")
    data = [name for name in hub.files if name.endswith(".parquet")]
    assert len(hub.verified) == len(data) == 4
    # another push, of one category: what is in the folder alone is data, and the rest is left
    hub.files["LICENSE"] = b"mine"
    again = export(file, out, hub.url, "--force", "--category", "brick")
    assert again.exit_code == 0, again.stderr
    assert f"{hub.url}/datasets/{NAME}: commit " in again.stdout
    assert hub.files == contents(out) | {"LICENSE": b"mine"}
    assert len(hub.created) == 1 and len(hub.messages) == 2


def test_a_server_that_fails_once_is_asked_again(file: Path, hub: StandIn, tmp_path: Path) -> None:
    hub.failures = {"preupload": [503], "upload": [500]}
    result = export(file, tmp_path / "out", hub.url)
    assert result.exit_code == 0, result.stderr
    assert hub.calls.count("preupload") == 2 and hub.calls.count("upload") == 5
    assert hub.files == contents(tmp_path / "out")


@pytest.mark.parametrize(
    ("failures", "token", "code", "said"),
    [
        ({}, "hf_another", 2, "refused it (401): the token is not valid"),
        ({"repos/create": [403]}, TOKEN, 2, "refused it (403): the token may not write there"),
        ({"commit": [403]}, TOKEN, 2, "refused it (403): the token may not write there"),
        ({"repos/create": [500]}, TOKEN, 1, "failed (500), try later"),
    ],
)
def test_refusals_and_failures(
    failures: dict[str, list[int]], token: str, code: int, said: str,
    file: Path, hub: StandIn, tmp_path: Path,
) -> None:  # fmt: skip
    hub.failures = failures
    out = tmp_path / "out"
    result = export(file, out, hub.url, token=token)
    assert result.exit_code == code, result.stderr
    assert said in result.stderr and f"--push {NAME}: {hub.url}" in result.stderr
    assert "the same command with --force pushes again" in result.stderr
    assert token not in result.stderr
    assert (out / "SHA256SUMS").is_file() and hub.files == {}


def test_a_server_that_is_not_there(file: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    result = export(file, tmp_path / "out", f"http://127.0.0.1:{port}")
    assert result.exit_code == 1
    assert "cannot be reached, or the connection broke" in result.stderr


def test_a_dry_run_writes_and_sends_nothing(file: Path, hub: StandIn, tmp_path: Path) -> None:
    result = export(file, tmp_path / "out", hub.url, "--private", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert f"then to {hub.url}/datasets/{NAME} (a private dataset, if it is new)" in result.stdout
    assert not (tmp_path / "out").exists() and hub.calls == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"HF_TOKEN": ""}, "there is no token; log in with `hf auth login`, or set HF_TOKEN"),
        ({"--push": "no-owner"}, "expected OWNER/NAME"),
        ({"--push": "a/b/c"}, "expected OWNER/NAME"),
        ({"--layout": "real3d-ad"}, "the Hub shows hf-parquet, not real3d-ad"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(
    changes: dict[str, str], said: str, file: Path, tmp_path: Path
) -> None:
    options = {"--layout": "hf-parquet", "--out": str(tmp_path / "out"), "--push": NAME}
    options |= {name: value for name, value in changes.items() if name in options}
    given = ["export", str(file), *(word for pair in options.items() for word in pair)]
    result = CliRunner().invoke(main, given, env={"HF_TOKEN": changes.get("HF_TOKEN", TOKEN)})
    assert result.exit_code == 2 and said in result.stderr
    assert not (tmp_path / "out").exists()
