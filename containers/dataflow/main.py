"""What the flex template starts: the pipeline's program."""

import sys

from mbats.batch.ticks_to_bars import main

if __name__ == "__main__":
    sys.exit(main())
