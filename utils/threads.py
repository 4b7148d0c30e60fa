"""How PyTorch's worker threads wait; import this before torch.

Between two operations OpenMP's threads spin by default. As soon as another program wants the same cores that costs
a training step many times its own time, while sleeping costs it next to nothing on an idle machine
(`python -m benchmarks.speed --threads` measures both).
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
