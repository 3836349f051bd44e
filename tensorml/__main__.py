"""`python -m tensorml`: the command line."""

import sys

from tensorml.cli import main

sys.exit(main())
