"""How a database is: invariants, daily times, failed calls; and how long it was watched."""
