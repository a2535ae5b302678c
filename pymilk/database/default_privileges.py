"""What roles grant on everything that they make.

What this one grants is taken back for the time of a restore: a dump names the grants that there
are, and where more is granted by default, as in many Supabase projects to `anon`, every restored
table would be open to it. What any role was made to grant is forgotten where a copy was.
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


# An entry for one schema is what is added to the usual: without grants it is gone. One for all
# schemas stands instead of the usual: it is gone when it says just that.
_FORGET = """
with entries as (
    select
        'alter default privileges for role ' || quote_ident(r.rolname)
        || coalesce(' in schema ' || quote_ident(n.nspname), '') as head,
        quote_ident(r.rolname) as role,
        n.nspname is null as everywhere,
        d.defaclacl as granted,
        case d.defaclobjtype
            when 'r' then 'tables' when 'S' then 'sequences' when 'f' then 'functions'
            when 'T' then 'types' when 'n' then 'schemas' when 'L' then 'large objects'
        end as kind
    from pg_catalog.pg_default_acl as d
    inner join pg_catalog.pg_roles as r on d.defaclrole = r.oid
    left join pg_catalog.pg_namespace as n on d.defaclnamespace = n.oid
)
select format(
    '%s revoke all on %s from %s', e.head, e.kind,
    case when x.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(x.grantee)) end
)
from entries as e cross join lateral (
    select distinct a.grantee from aclexplode(e.granted) as a
) as x
union all
select format('%s grant all on %s to %s', e.head, e.kind, e.role) from entries as e
where e.everywhere
union all
select format('%s grant all on %s to public', e.head, e.kind) from entries as e
where e.everywhere and e.kind in ('functions', 'types')
order by 1 desc
"""


def forget_default_privileges(connection: Connection) -> None:
    """Have every role grant the usual by default, in this database; for a superuser."""
    # Revoking comes first: in this order the grants are those that stay.
    for (statement,) in connection.execute(_FORGET.encode()).fetchall():
        connection.execute(statement)
