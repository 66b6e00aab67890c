"""The completion of the shell."""

from __future__ import annotations

import pytest

from helpers.command import harmony


def completed(*words: str) -> list[str]:
    """What bash offers for the last word."""
    done = harmony(
        _HARMONY_COMPLETE="bash_complete", COMP_WORDS=" ".join(["harmony", *words]), COMP_CWORD=str(len(words))
    )
    return done.stdout.decode().split()


def test_shells_complete_commands_options_and_files() -> None:
    assert completed("pa") == ["plain,parse"]
    assert completed("vocab", "e") == ["plain,export"]
    assert completed("parse", "--res") == ["plain,--resume"]
    assert completed("render", "--style", "o") == ["plain,openai", "plain,oss"]
    assert completed("stats", "lo") == ["file,lo"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_that_completes(shell: str) -> None:
    done = harmony("completion", shell)
    assert (done.returncode, done.stderr) == (0, b"")
    assert f"_HARMONY_COMPLETE={shell}_complete" in done.stdout.decode()
