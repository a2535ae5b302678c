"""What was done to a database, and how its books stand, as one page that anybody can read."""
