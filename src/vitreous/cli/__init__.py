"""The `vitreous` command: one small file per subcommand.

Threads that wait for others sleep instead of spinning: where a second job shares the cores, spinning made a search four
times as long. Operations are too short for the linear algebra of numpy to gain by threads of its own. Both have to be
said before OpenMP is loaded; a program that imports torch itself sets them in its environment.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
