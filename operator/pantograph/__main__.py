"""`python -m pantograph` is the command `pantograph`."""

from pantograph.cli import main

if __name__ == "__main__":
    main()
