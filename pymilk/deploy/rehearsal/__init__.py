"""The change on a restored copy: there, back, used, and there again."""
