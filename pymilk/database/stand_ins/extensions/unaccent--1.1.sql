-- Stand-in of pymilk for unaccent: the letters without their marks, and the ligatures taken apart.

create function unaccent(text) returns text
language sql stable strict parallel safe
as $$
  select translate(
    replace(
      replace(
        replace(
          replace(replace(replace(n.plain, 'ß', 'ss'), 'æ', 'ae'), 'Æ', 'AE'), 'œ', 'oe'
        ),
        'Œ',
        'OE'
      ),
      'þ',
      'th'
    ),
    'øØłŁđĐðıħŧ‘’“”–—',
    e'oOlLdDdiht\'\'""--'
  )
  from (
    select normalize(
      regexp_replace(normalize($1, nfd), '[\u0300-\u036f]', '', 'g'), nfc
    ) as plain
  ) as n
$$;

create function unaccent(regdictionary, text) returns text
language sql stable strict parallel safe
as $$ select @extschema@.unaccent($2) $$;
