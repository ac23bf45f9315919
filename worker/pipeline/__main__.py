"""`python -m worker.pipeline [serve | once | now]`: refreshes artifacts by the clock, once, or through who does."""

import sys

from worker.pipeline.schedule import main

if __name__ == "__main__":
    sys.exit(main())
