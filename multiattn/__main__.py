"""`python -m multiattn`, which is the `multiattn` command."""

import sys

from .cli.main import main

sys.exit(main())
