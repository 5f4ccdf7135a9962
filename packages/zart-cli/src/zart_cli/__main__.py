"""`python -m zart_cli` is the command `zart`."""

from zart_cli.app import main

main()
