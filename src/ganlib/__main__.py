"""Run the command line of ganlib: ``python -m ganlib``."""

from ganlib._cli import main

if __name__ == "__main__":
    main()
