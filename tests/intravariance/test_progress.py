# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import sys

import pytest

from intravariance.progress import say, track


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""  # stdout is data
    return captured.err.splitlines()


def test_items_pass_through_unchanged(capsys):
    for quiet in (False, True):
        assert list(track(iter("abc"), 3, "letters", quiet)) == ["a", "b", "c"]
    assert list(track([], 0, "nothing")) == []


def test_a_line_for_each_tenth(capsys):
    list(track(range(1000), 1000, "train vase"))
    lines = shown(capsys)
    assert len(lines) == 10
    assert lines[0].startswith("train vase: 100/1000, ")
    assert lines[-1].startswith("train vase: 1000/1000, ")
    assert lines[-1].endswith("/s, 0 s left")


def test_the_note_is_that_of_the_item_just_done(capsys):
    done = []
    for item in track(range(4), 4, "train", note=lambda: f"loss {done[-1]}"):
        done.append(item)
    assert [line.rpartition(", ")[2] for line in shown(capsys)] == [f"loss {i}" for i in range(4)]


def test_the_note_is_not_asked_for_when_nothing_is_shown(capsys):
    def fail() -> str:
        raise AssertionError

    assert list(track(range(30), 30, "train", quiet=True, note=fail)) == list(range(30))
    assert shown(capsys) == []
    say("hello", quiet=True)
    assert shown(capsys) == []
    say("hello")
    assert shown(capsys) == ["hello"]


def test_a_stopped_loop_is_not_reported_as_done(capsys):
    for item in track(range(10), 10, "train", note=lambda: "x"):
        if item == 4:
            break
    assert [line.split(",")[0] for line in shown(capsys)] == [f"train: {i}/10" for i in range(1, 5)]


def test_a_bar_on_a_terminal_with_the_note(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(track(range(5), 5, "train vase", note=lambda: "loss 0.5")) == list(range(5))
    text = terminal.getvalue()
    assert "train vase" in text
    assert "5/5" in text
    assert "loss 0.5" in text
