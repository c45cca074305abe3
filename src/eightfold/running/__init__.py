"""How a model is run on a machine: threads, processes and their cores, environment, allocator."""
