"""For tests of your own: a real database with your migrations, and a client on it."""
