"""What this role grants on everything that it makes: taken back for the time of a restore.

A dump names the grants that there are. Where more is granted by default, as in many Supabase
projects to `anon`, every restored table would be open to it.
"""

from dataclasses import dataclass

from pymilk.database.connection import Connection

_QUERY = """
select
    format(
        'alter default privileges%s %%s all on %s %%s %s',
        coalesce(' in schema ' || quote_ident(n.nspname), ''),
        case d.defaclobjtype
            when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions'
            when 'T' then 'types' when 'n' then 'schemas'
        end,
        case when x.grantee = 0 then 'public' else quote_ident(x.grantee::regrole::text) end
    ),
    array_agg(x.privilege_type order by x.privilege_type)
from pg_default_acl as d
left join pg_namespace as n on d.defaclnamespace = n.oid
cross join lateral aclexplode(d.defaclacl) as x
where
    d.defaclrole = current_user::regrole
    and x.grantee <> d.defaclrole
    and d.defaclobjtype in ('r', 'S', 'f', 'T', 'n')
group by 1
order by 1
"""


@dataclass(frozen=True)
class ByDefault:
    """Statements that take a role's default grants to others back, and that give them again."""

    _take_back: tuple[bytes, ...]
    _give_again: tuple[bytes, ...]

    def take_back(self, connection: Connection) -> None:
        """Grant nothing to others by default from here on."""
        for statement in self._take_back:
            connection.execute(statement)

    def give_again(self, connection: Connection) -> None:
        """Grant by default what was granted before."""
        for statement in self._give_again:
            connection.execute(statement)


def granted_by_default(connection: Connection) -> ByDefault:
    """What the role that we are grants to others by default."""
    rows = connection.execute(_QUERY.encode()).fetchall()
    return ByDefault(
        tuple((form % ("revoke", "from")).encode() for form, _ in rows),
        tuple(
            (form % ("grant", "to")).replace(" all on ", f" {', '.join(kinds)} on ", 1).encode()
            for form, kinds in rows
        ),
    )
