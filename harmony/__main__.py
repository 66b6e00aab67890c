"""`python -m harmony`, and the command `harmony`."""

import sys


def main() -> None:
    """Runs the command line, which needs the extra `cli`."""
    try:
        from harmony.cli.commands import run
    except ModuleNotFoundError as error:
        if error.name not in ("rich", "click", "xxhash"):
            raise
        print(f"harmony: the command line needs {error.name}: pip install 'harmony-codec[cli]'", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:  # so soon
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
