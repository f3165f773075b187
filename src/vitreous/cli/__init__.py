"""The `vitreous` command: one small file per subcommand.

Threads that wait for others spin for a fraction of a millisecond, then sleep. Where a second job shares the cores,
longer spinning made a search four times as long; without any, the pose network took twice as long on cores of its own.
Operations are too short for the linear algebra of numpy to gain by threads of its own. All of it has to be said before
OpenMP is loaded; a program that imports torch itself sets them in its environment.
"""

import os

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
