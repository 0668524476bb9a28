# SPDX-License-Identifier: Apache-2.0
"""A folder of `iv export --layout hf-parquet` to the Hugging Face Hub, by its own client.

The token is the one that the client finds: HF_TOKEN, or that of `hf auth login`. HF_ENDPOINT names
another server than huggingface.co. The client tries again whatever fails on the way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from intravariance.dataset.provenance import software
from intravariance.errors import InputError, IVError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_DATA = "data/*/*.parquet"  # of an earlier push, which would be read with the new ones
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_ADVICE = {
    401: "the token is not valid; `hf auth login` or HF_TOKEN gives another",
    403: "the token may not write there; take one with the permission to write, or another owner",
    404: "there is no such owner or repository, or the token may not see it",
}


@dataclass(frozen=True)
class Hub:
    """Where to push, known to be usable as far as that can be told without a connection.

    repository : "OWNER/NAME" of a dataset. private : whether a new one is private. api : the
    client, with its token.
    """

    repository: str
    private: bool
    api: HfApi

    @property
    def page(self) -> str:
        """The address of the dataset."""
        return f"{self.api.endpoint}/datasets/{self.repository}"


def open_hub(repository: str, private: bool) -> Hub:
    """Find the client, the token and the server. Nothing is sent.

    Raises
    ------
    InputError
        It is no name of a repository, or there is no token.
    ModuleNotFoundError
        huggingface_hub is not installed.
    """
    from huggingface_hub import HfApi, get_token  # noqa: PLC0415 - weight
    from huggingface_hub.utils import HFValidationError, validate_repo_id  # noqa: PLC0415 - weight

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise InputError(f"--push {repository}: expected OWNER/NAME: {error}") from None
    if not _REPOSITORY.fullmatch(repository):
        raise InputError(f"--push {repository}: expected OWNER/NAME, as my-name/my-dataset")
    token = get_token()
    if token is None:
        raise InputError(
            f"--push {repository}: there is no token; log in with `hf auth login`, or set HF_TOKEN "
            "to a token that may write"
        )
    api = HfApi(token=token, library_name="intravariance", library_version=software()["iv"])
    return Hub(repository, private, api)


def push(folder: Path, hub: Hub, message: str, quiet: bool = True) -> str:
    """Upload all files of a folder in place of those of an earlier push; return the commit's id.

    Parquet files that the folder does not have are removed there, other files are left.

    Raises
    ------
    InputError
        The server refuses the token, or the repository.
    IVError
        The server cannot be reached, or fails.
    """
    from huggingface_hub.utils import (  # noqa: PLC0415 - weight
        disable_progress_bars,
        enable_progress_bars,
    )

    (disable_progress_bars if quiet else enable_progress_bars)()
    with _explained(folder, hub):
        hub.api.create_repo(
            hub.repository, repo_type="dataset", private=hub.private or None, exist_ok=True
        )
        done = hub.api.upload_folder(
            repo_id=hub.repository,
            folder_path=folder,
            repo_type="dataset",
            commit_message=message,
            delete_patterns=_DATA,
        )
        return str(done.oid)


@contextmanager
def _explained(folder: Path, hub: Hub) -> Iterator[None]:
    """Say in a line what the client could not do, without the token."""
    from huggingface_hub.utils import HfHubHTTPError  # noqa: PLC0415 - weight

    try:
        yield
    except Exception as error:  # the errors of its HTTP library differ with its version
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        response = cause.response if isinstance(cause, HfHubHTTPError) else None
        status = None if response is None else response.status_code
        place = f"--push {hub.repository}: {hub.api.endpoint}"
        rest = f"{folder} is complete; the same command with --force pushes again"
        said = str(cause).replace(str(hub.api.token), "TOKEN").strip() or type(cause).__name__
        if status is None:
            network = isinstance(cause, OSError) or type(cause).__module__.startswith("httpx")
            what = "cannot be reached, or the connection broke" if network else "could not take it"
            raise IVError(f"{place} {what} ({said}). {rest}") from None
        if 400 <= status < 500:
            advice = _ADVICE.get(status, said)
            raise InputError(f"{place} refused it ({status}): {advice}. {rest}") from None
        raise IVError(f"{place} failed ({status}), try later: {said}. {rest}") from None
