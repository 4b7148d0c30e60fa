"""How PyTorch's worker threads wait; import this before torch.

Between two operations OpenMP's threads spin. Spinning for long costs many times a training step as soon as another
program wants the same cores; sleeping at once costs half a step on an idle machine. A short spin is good at both
(`python -m benchmarks.speed --threads` measures it). A setting of the user's own is left alone.
"""

import os

if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
    os.environ["GOMP_SPINCOUNT"] = "20000"
