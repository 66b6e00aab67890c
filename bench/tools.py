"""The ten functions of the conversation that is rendered, with schemas as an assistant for office work has them."""

from __future__ import annotations

from typing import Any, Final


def _tool(name: str, description: str, *required: str, **properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"name": name, "description": description, "parameters": parameters}


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


def _number(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "number", "description": description, **more}


def _list(description: str, **items: Any) -> dict[str, Any]:
    return {"type": "array", "description": description, "items": items}


#: Ten functions as an assistant for office work has them.
TOOLS: Final = [
    _tool(
        "get_weather",
        "Gets the weather and the forecast for a place.",
        "city",
        city=_text("The city and its country, e.g. Oslo, Norway"),
        days=_number("How many days of forecast, from today.", default=1),
        unit=_text("The unit of temperatures.", enum=["celsius", "fahrenheit"], default="celsius"),
    ),
    _tool(
        "search_web",
        "Searches the web.\nReturns title, address and an excerpt of each result.",
        "query",
        query=_text("What to search for.", examples=["trains Oslo Bergen timetable"]),
        limit=_number("How many results at most.", default=10),
        sites=_list("Only results from these sites.", type="string"),
        age=_text("How old a result may be.", enum=["day", "week", "month", "year"]),
    ),
    _tool(
        "send_mail",
        "Sends a mail for the user. Ask before you send one.",
        "to",
        "subject",
        "body",
        to=_list("The recipients' addresses.", type="string"),
        subject=_text("The subject line."),
        body=_text("The text, in Markdown."),
        attachments=_list("Files that go with it.", type="object", properties={"path": _text("From the home folder.")}),
    ),
    _tool(
        "create_event",
        "Puts an event into the user's calendar.",
        "title",
        "start",
        title=_text("What the calendar shows."),
        start=_text("When it begins, ISO 8601."),
        end=_text("When it ends, ISO 8601.", nullable=True),
        place={
            "type": "object",
            "description": "Where it is.",
            "properties": {"name": _text("As on the map."), "latitude": _number("°N"), "longitude": _number("°E")},
        },
    ),
    _tool(
        "read_file",
        "Reads a text file of the user's.",
        "path",
        path=_text("From the home folder."),
        first_line=_number("Where to begin.", default=1),
        lines=_number("How many lines; all of them unless it is given."),
    ),
    _tool(
        "write_file",
        "Writes a text file of the user's, which need not exist.",
        "path",
        "content",
        path=_text("From the home folder."),
        content=_text("All that the file is to hold."),
        overwrite={"type": "boolean", "description": "Whether one that exists is replaced.", "default": False},
    ),
    _tool(
        "query_database",
        "Runs a query on the sales database, which cannot be changed.",
        "sql",
        sql=_text("One SELECT statement, in the dialect of PostgreSQL."),
        values={
            "type": "array",
            "description": "For its placeholders.",
            "items": {"type": ["string", "number", "null"]},
        },
        timeout=_number("Seconds to wait.", default=30.0),
    ),
    _tool(
        "get_rate",
        "Gets the rate of exchange between two currencies on a day.",
        "base",
        "quote",
        base=_text("ISO 4217 code.", examples=["EUR"]),
        quote=_text("ISO 4217 code.", examples=["NOK"]),
        day={"description": "Today unless it is given.", "oneOf": [_text("ISO 8601"), _number("Days before today")]},
    ),
    _tool(
        "translate",
        "Translates a text.",
        "text",
        "target",
        text=_text("What to translate."),
        target=_text("The language to translate to.", enum=["de", "en", "es", "fr", "ja", "nb"]),
        formal={"type": "boolean", "description": "How to address the reader.", "default": True},
    ),
    _tool(
        "book_train",
        "Books seats on a train; the user confirms before it is paid.",
        "origin",
        "destination",
        "departure",
        origin=_text("The station to leave from."),
        destination=_text("The station to go to."),
        departure=_text("Day and time, ISO 8601."),
        travellers=_list(
            "Who goes.", type="object", properties={"name": _text("As on the pass."), "age": _number("Years")}
        ),
        wagon=_text("The class.", enum=["standard", "plus", "sleeper"], default="standard"),
    ),
]
