"""`python -m nslab`."""

from nslab.cli.app import main

main()
