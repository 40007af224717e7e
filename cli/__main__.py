"""`python -m cli`: the lastro command, as its launcher starts it."""

from cli.main import main

if __name__ == "__main__":
    main()
