"""`python -m harmony`, and the command `harmony`."""

import sys


def main() -> None:
    """Runs the command line, which needs the extra `cli`."""
    try:
        from harmony.cli.commands import run

        run()
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in ("rich", "click", "xxhash"):
            raise
        from harmony.runtime.extras import how_to_install

        needs = f"the command line needs {library}: {how_to_install('cli', library)}"
        print(f"harmony: {needs}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:  # before the command began
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
