"""What can be trusted: damaged files, full disks, killed processes, poisoned batches, equal bytes, divergence."""
