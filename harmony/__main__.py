"""`python -m harmony`, and the command `harmony`."""

import sys


def main() -> None:
    """Runs the command line, which needs the extra `cli`."""
    try:
        from harmony.cli.commands import run
    except ModuleNotFoundError as error:
        if error.name not in ("rich", "click", "xxhash"):
            raise
        from harmony.runtime.extras import how_to_install

        needs = f"the command line needs {error.name}: {how_to_install('cli', error.name)}"
        print(f"harmony: {needs}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:  # so soon
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
