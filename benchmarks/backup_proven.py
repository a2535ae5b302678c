"""One backup with its restore test, in a process of its own: prints seconds and memory as JSON.

python backup_proven.py URL COPY'S_OWNER_URL COPY'S_SUPERUSER_URL FOLDER
"""

import json
import resource
import sys
import time
from pathlib import Path

from pymilk.database.dump import take_backup
from pymilk.database.programs import find_programs
from pymilk.deploy.backup.restore_test import prove_restore
from pymilk.deploy.basis.plan import Bench


def main(url: str, owner_url: str, superuser_url: str, folder: str) -> None:
    """Back up, restore, compare."""
    programs = find_programs()
    bench = Bench(owner_url, superuser_url, programs.major, "embedded")
    started = time.perf_counter()
    backup = take_backup(url, programs, Path(folder))
    prove_restore(backup, bench, programs)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak_kib": _peak_kib()}))


def _peak_kib() -> int:
    """The most memory that this program has had.

    On Linux not by getrusage: there a process begins with the most that the one had which started
    it, and that was a bench that had loaded everything.
    """
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # macOS counts bytes
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    main(*sys.argv[1:5])
