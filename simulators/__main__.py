"""``python -m stmtem_control.simulators`` is ``stmtem sim``, without the rest of the package."""

import sys

from .serve import serve

sys.exit(serve())
