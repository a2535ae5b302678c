"""A group whose help lists its commands as they were added, what is used most first."""

import click


class InOrder(click.Group):
    """Click itself lists them by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - Click's
        """The names of its commands."""
        return list(self.commands)
