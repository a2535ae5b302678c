"""What a deploy knows: the plan, the evidence, the notes; its lock, and the trace of its run."""
