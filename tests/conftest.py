"""What every test shares."""

import utils.threads  # noqa: F401, before torch
