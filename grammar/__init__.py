"""The formal grammar of the Harmony format: its strict language, in a file that stock Lark loads as it stands."""

from importlib.resources import files


def read() -> str:
    """The grammar's text, in Lark's notation; its start rules are `conversation`, `prompt` and `completion`."""
    return files("harmony.grammar").joinpath("harmony.lark").read_text(encoding="utf-8")
