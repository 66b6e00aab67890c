"""`python -m harmony`, and the command `harmony`."""

import sys


def main() -> None:
    """Runs the command line, which needs the extra `cli`."""
    try:
        import rich
        import typer  # noqa: F401  both are what the extra installs
    except ModuleNotFoundError as error:
        print(f"harmony: the command line needs {error.name}: pip install 'harmony-codec[cli]'", file=sys.stderr)
        raise SystemExit(2) from None
    from harmony.cli import run

    run()


if __name__ == "__main__":
    main()
