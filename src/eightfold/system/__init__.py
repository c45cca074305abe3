"""What the machine is: its cores and caches, the limits on this process, the instructions of its CPU."""
