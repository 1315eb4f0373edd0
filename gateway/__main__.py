"""Entry point of `missiongate` and of `python -m gateway`."""

from gateway.cli.app import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
