"""The built-in tool namespaces `browser` and `python`, with the exact texts of openai-harmony 0.0.8.

They are dicts here; `harmony.messages.model` makes objects of them.
"""

from __future__ import annotations

from typing import Any, Final

_TEXT: Final = {"type": "string"}
_UNSET_NUMBER: Final = {"type": "number", "default": -1}

#: Searching the web and reading pages.
BROWSER: Final[dict[str, Any]] = {
    "name": "browser",
    "description": (
        "Tool for browsing.\n"
        "The `cursor` appears in brackets before each browsing display: `[{cursor}]`.\n"
        "Cite information from the tool using the following format:\n"
        "`【{cursor}†L{line_start}(-L{line_end})?】`, for example: `【6†L9-L11】` or `【8†L3】`.\n"
        "Do not quote more than 10 words directly from the tool output.\n"
        "sources=web (default: web)"
    ),
    "tools": [
        {
            "name": "search",
            "description": "Searches for information related to `query` and displays `topn` results.",
            "parameters": {
                "type": "object",
                "properties": {"query": _TEXT, "topn": {"type": "number", "default": 10}, "source": _TEXT},
                "required": ["query"],
            },
        },
        {
            "name": "open",
            "description": (
                "Opens the link `id` from the page indicated by `cursor` starting at line number `loc`, "
                "showing `num_lines` lines.\n"
                "Valid link ids are displayed with the formatting: `【{id}†.*】`.\n"
                "If `cursor` is not provided, the most recent page is implied.\n"
                "If `id` is a string, it is treated as a fully qualified URL associated with `source`.\n"
                "If `loc` is not provided, the viewport will be positioned at the beginning of the document "
                "or centered on the most relevant passage, if available.\n"
                "Use this function without `id` to scroll to a new location of an opened page."
            ),
            "parameters": {
                "type": "object",
                "properties": {
                    "id": {"type": ["number", "string"], "default": -1},
                    "cursor": _UNSET_NUMBER,
                    "loc": _UNSET_NUMBER,
                    "num_lines": _UNSET_NUMBER,
                    "view_source": {"type": "boolean", "default": False},
                    "source": _TEXT,
                },
            },
        },
        {
            "name": "find",
            "description": ("Finds exact matches of `pattern` in the current page, or the page given by `cursor`."),
            "parameters": {
                "type": "object",
                "properties": {"pattern": _TEXT, "cursor": _UNSET_NUMBER},
                "required": ["pattern"],
            },
        },
    ],
}

#: Running Python code while the model thinks. It has no functions: the content of a call is the code itself.
PYTHON: Final[dict[str, Any]] = {
    "name": "python",
    "description": (
        "Use this tool to execute Python code in your chain of thought. The code will not be shown to the "
        "user. This tool should be used for internal reasoning, but not for code that is intended to be "
        "visible to the user (e.g. when creating plots, tables, or files).\n"
        "\n"
        "When you send a message containing Python code to python, it will be executed in a stateful Jupyter "
        "notebook environment. python will respond with the output of the execution or time out after "
        "120.0 seconds. The drive at '/mnt/data' can be used to save and persist user files. Internet access "
        "for this session is UNKNOWN. Depends on the cluster."
    ),
    "tools": [],
}
