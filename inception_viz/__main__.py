"""`python -m inception_viz`."""

import sys

from inception_viz.cli import main

sys.exit(main())
