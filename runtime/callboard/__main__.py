"""`python -m callboard` is the command `callboard`."""

from callboard.cli.app import main

main()
