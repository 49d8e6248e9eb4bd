"""A program for tests to kill or to stop: it holds a bias on a bench, with or without reading it.

Called with the addresses of the bench as JSON, the folder for the data, dead_man_s, and "read" or
"hold".
"""

import json
import sys
import threading

from stmtem_control.config import load_station
from stmtem_control.errors import InterlockError
from stmtem_control.session import Session


def main() -> int:
    """Hold -5 V until the end; return 3 when the source let go of it, with the reason."""
    addresses, root, dead_man_s, how = json.loads(sys.argv[1]), *sys.argv[2:5]
    station = load_station("sim").with_bench(speed=1.0, size=256).with_data(root)
    source = station.bias_source.model_copy(update={"dead_man_s": float(dead_man_s)})
    station = station.model_copy(update={"bias_source": source})
    with Session(station, addresses=addresses) as session:
        lapsed = threading.Event()
        session.bias.on_lapse = lambda reason: lapsed.set()
        session.bias.set(-5.0).wait(5.0)
        print("held", flush=True)
        try:
            while how == "read":
                session.bias.trigger().wait(5.0)
            lapsed.wait()
            session.bias.trigger().wait(5.0)
        except InterlockError as error:
            print(error, flush=True)
            return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
